package ui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-runewidth"
)

// A Progress shows how far the tasks of a target are, for people who wait: on a terminal a line for
// each task, drawn over and over; elsewhere a line of log for each step, and at least one a minute of
// what takes longer. It is quiet where it is asked to be. Its methods may be called in parallel.
type Progress struct {
	ui    *UI
	live  bool
	stop  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex
	tasks []*Task
}

const (
	redraw   = 200 * time.Millisecond // of a terminal
	speakOf  = 2 * time.Second        // what is over earlier is not spoken of in a log
	lifeSign = time.Minute            // of what takes longer
)

// Progress begins to show. When the context ends nothing more is drawn. The caller closes it.
func (u *UI) Progress(ctx context.Context) *Progress {
	p := &Progress{ui: u, live: u.live, stop: make(chan struct{})}
	p.ended.Go(func() { p.watch(ctx) })
	return p
}

func (p *Progress) watch(ctx context.Context) {
	every := speakOf
	if p.live {
		every = redraw
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ctx.Done(): // mage has spoken below our lines
			p.ui.screen.leave()
			<-p.stop
			return
		case now := <-tick.C:
			if p.live {
				p.ui.screen.draw()
			} else {
				p.speak(now)
			}
		}
	}
}

// Close takes the lines from the terminal.
func (p *Progress) Close() {
	select {
	case <-p.stop:
		return
	default:
	}
	close(p.stop)
	p.ended.Wait()
	p.mu.Lock()
	p.tasks = nil
	p.mu.Unlock()
	if p.live {
		p.ui.screen.hide(p)
	}
}

// A Unit is what a task counts.
type Unit string

// Bytes are shown with a speed. Anything else is a number of things.
const (
	Bytes  Unit = "bytes"
	Things Unit = ""
)

// A Task is one thing that goes on.
type Task struct {
	p     *Progress
	name  string
	began time.Time

	step     string
	item     string
	unit     Unit
	done, of int64
	counted  time.Time // when counting began
	first    int64     // what was done by then
	told     time.Time // in the log, of this step; zero: never
}

// Begin adds a task: a container and its platform, a file, a build cache.
func (p *Progress) Begin(name string) *Task {
	t := &Task{p: p, name: Line(name), began: time.Now()}
	p.mu.Lock()
	p.tasks = append(p.tasks, t)
	p.mu.Unlock()
	if p.live {
		p.ui.screen.show(p)
	}
	return t
}

// Step says what the task is at now. It is told at once, also in a log.
func (t *Task) Step(step string) { t.tell(step, 0, 0, "") }

// Item says which of several things a step is at: "installing 12 of 80: hdf5". It is told at once,
// also in a log; of is 0 where it is not known.
func (t *Task) Item(step string, number, of int, item string) {
	t.tell(step, int64(number), int64(of), item)
}

func (t *Task) tell(step string, done, of int64, item string) {
	step, item = Line(step), Line(item)
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if t.step == step && t.item == item && t.done == done && t.of == of {
		return
	}
	t.step, t.item, t.done, t.of, t.unit, t.counted = step, item, done, of, Things, time.Time{}
	t.told = time.Now()
	if !t.p.live {
		t.say()
	}
}

// Count says how far a step is; of is 0 where it is not known. A log hears of it every now and then.
func (t *Task) Count(step string, done, of int64, unit Unit) {
	step = Line(step)
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if t.step != step || t.counted.IsZero() || done < t.done {
		t.counted, t.first = time.Now(), done
	}
	t.step, t.item, t.done, t.of, t.unit = step, "", done, of, unit
}

// End takes the task away.
func (t *Task) End() {
	t.p.mu.Lock()
	t.p.tasks = slices.DeleteFunc(t.p.tasks, func(other *Task) bool { return other == t })
	t.p.mu.Unlock()
	if t.p.live {
		t.p.ui.screen.draw()
	}
}

// lines are the tasks as a terminal shows them.
func (p *Progress) lines(width int) (lines []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tasks {
		lines = append(lines, t.line(width, time.Now()))
	}
	return lines
}

// line is time, name and what goes on. Where the terminal has no room for all of it, the end of the
// name goes first: what follows it is what moves.
func (t *Task) line(width int, now time.Time) string {
	took, what := now.Sub(t.began).Round(time.Second).String(), t.text(now)
	head := fmt.Sprintf("%6s  ", took)
	room := width - len(head) - runewidth.StringWidth(what) - 2
	if name := shorten(t.name, max(12, room)); what != "" {
		return shorten(head+name+"  "+what, width)
	}
	return shorten(head+t.name, width)
}

// text is what goes on: "installing 12 of 80: hdf5", "sent 3.1 MiB of 80 MiB, 12 MiB/s, 7s left".
func (t *Task) text(now time.Time) string {
	var b strings.Builder
	b.WriteString(t.step)
	add := func(format string, args ...any) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, format, args...)
	}
	since := now.Sub(t.counted)
	counts := !t.counted.IsZero() && since >= speakOf && t.done > t.first
	switch {
	case t.unit == Bytes && t.of > 0:
		add("%s of %s", Size(t.done), Size(t.of))
	case t.unit == Bytes:
		add("%s", Size(t.done))
	case t.of > 0:
		add("%d of %d", t.done, t.of)
	case t.done > 0:
		add("%d", t.done)
	}
	if counts && t.unit == Bytes {
		fmt.Fprintf(&b, ", %s/s", Size(int64(float64(t.done-t.first)/since.Seconds())))
	}
	if left := t.of - t.done; counts && left > 0 {
		rest := time.Duration(float64(since) / float64(t.done-t.first) * float64(left))
		fmt.Fprintf(&b, ", %s left", roughly(rest))
	}
	if t.item != "" {
		b.WriteString(": " + t.item)
	}
	return b.String()
}

// roughly writes a time that is a guess to a digit or two.
func roughly(d time.Duration) string {
	unit := time.Second
	switch {
	case d >= time.Hour:
		unit = time.Minute
	case d >= time.Minute:
		unit = 10 * time.Second
	}
	text := max(time.Second, d.Round(unit)).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

// speak tells a log of what has gone on for long.
func (p *Progress) speak(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tasks {
		if t.told.IsZero() && now.Sub(t.began) >= speakOf || !t.told.IsZero() && now.Sub(t.told) >= lifeSign {
			t.told = now
			t.say()
		}
	}
}

// say writes a line of log.
func (t *Task) say() {
	t.p.ui.Log.Info(strings.TrimSuffix(t.name+": "+t.text(time.Now()), ": "), "after", Took(time.Since(t.began)))
}

// shorten cuts text to a width, of which the last column says that there was more.
func shorten(text string, width int) string {
	return runewidth.Truncate(text, max(1, width), "…")
}
