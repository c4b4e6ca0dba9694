package targets

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// buildProgress tells how the builds go on: on a terminal by a line for each that
// runs, elsewhere by a line of log for each step and package. The full logs
// are in files.
type buildProgress struct {
	app    *app
	screen io.Writer // nil: no terminal
	width  int

	mu      sync.Mutex
	running []*runningBuild
	drawn   int // lines that are on the screen
	stop    chan struct{}
}

// A runningBuild is a build with the last that it told.
type runningBuild struct {
	who   string
	began time.Time
	last  podman.Event
}

func (a *app) newProgress() *buildProgress {
	p := &buildProgress{app: a, stop: make(chan struct{})}
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err == nil && width > 20 && a.CI == "" {
		p.screen, p.width = os.Stderr, width
		go p.tick()
	}
	return p
}

// event takes what a build tells.
func (p *buildProgress) event(e podman.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := e.Container + " " + e.Platform
	if e.Note != "" {
		p.app.Log.Warn(who, "note", e.Note)
		return
	}
	i := slices.IndexFunc(p.running, func(r *runningBuild) bool { return r.who == who })
	if e.Done && i < 0 {
		return
	}
	if e.Done {
		p.running = slices.Delete(p.running, i, i+1)
		p.draw()
		return
	}
	if i < 0 {
		i = len(p.running)
		p.running = append(p.running, &runningBuild{who: who, began: time.Now()})
	}
	r := p.running[i]
	if r.last == e {
		return
	}
	r.last = e
	if p.screen == nil {
		p.app.Log.Info(who, r.words()...)
	}
	p.draw()
}

func (r *runningBuild) words() []any {
	words := []any{"step", r.last.Step, "after", ui.Took(time.Since(r.began))}
	if r.last.Package != "" {
		words = append(words, "package", r.last.Package, "done", r.last.Installed, "of", r.last.Of)
	}
	return words
}

// line is the build as a terminal shows it.
func (r *runningBuild) line() string {
	what := r.last.Step
	if r.last.Package != "" {
		what = fmt.Sprintf("%s %d of %d: %s", what, r.last.Installed+1, r.last.Of, r.last.Package)
	}
	return fmt.Sprintf("%7s  %s  %s", time.Since(r.began).Round(time.Second), r.who, what)
}

// tick lets the times go on while nothing happens.
func (p *buildProgress) tick() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// draw writes the lines over those that are there.
func (p *buildProgress) draw() {
	if p.screen == nil {
		return
	}
	var b strings.Builder
	b.WriteString(p.erase())
	for _, r := range p.running {
		line := []rune(r.line())
		b.WriteString(string(line[:min(len(line), p.width-1)]) + "\n")
	}
	p.drawn = len(p.running)
	_, _ = io.WriteString(p.screen, b.String())
}

// erase goes back to where the lines begin, and clears what is below.
func (p *buildProgress) erase() string {
	if p.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", p.drawn)
}

// close takes the lines from the screen.
func (p *buildProgress) close() {
	close(p.stop)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = nil
	p.draw()
	p.screen = nil
}
