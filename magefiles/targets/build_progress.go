package targets

import (
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/magefiles/internal/build"
	"github.com/openbraininstitute/spacktainers/magefiles/internal/ui"
)

// progress tells how the builds go on: a line of log for each new step and
// package. The full logs are in files.
type progress struct {
	app   *app
	mu    sync.Mutex
	began map[string]time.Time
	last  map[string]build.Event
}

func (a *app) newProgress() *progress {
	return &progress{app: a, began: map[string]time.Time{}, last: map[string]build.Event{}}
}

func (p *progress) event(e build.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	who := e.Container + " " + e.Platform
	if p.began[who].IsZero() {
		p.began[who] = time.Now()
	}
	if e == p.last[who] {
		return
	}
	p.last[who] = e
	words := []any{"step", e.Step, "after", ui.Took(time.Since(p.began[who]))}
	if e.Package != "" {
		words = append(words, "package", e.Package, "done", e.Done, "of", e.Of)
	}
	p.app.Log.Info(who, words...)
}

func (p *progress) close() {}
