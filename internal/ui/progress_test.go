package ui

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
)

// drawn is a UI on a terminal of some size, and what is written to it.
func drawn(width, height int) (*UI, *bytes.Buffer) {
	var terminal bytes.Buffer
	u := New(&terminal, &terminal, "", Style{})
	u.live = true
	u.screen.size = func() (int, int) { return width, height }
	return u, &terminal
}

// rows plays what is written to a terminal, and returns what it shows in the end.
func rows(written string) []string {
	var shown []string
	at := 0
	written = strings.ReplaceAll(written, "\r", "") // each is at the beginning of a line
	for len(written) > 0 {
		if rest, ok := strings.CutPrefix(written, "\x1b["); ok {
			number := 0
			for rest[0] >= '0' && rest[0] <= '9' {
				number, rest = number*10+int(rest[0]-'0'), rest[1:]
			}
			switch rest[0] {
			case 'A':
				at -= number
			case 'J':
				shown = shown[:at]
			}
			written = rest[1:]
			continue
		}
		line, rest, _ := strings.Cut(written, "\n")
		written = rest
		shown = append(shown[:at], append([]string{line}, shown[min(len(shown), at+1):]...)...)
		at++
	}
	return shown
}

func TestATerminalShowsALineForEachTaskBelowTheLog(t *testing.T) {
	for _, width := range []int{40, 80, 200} {
		u, terminal := drawn(width, 24)
		p := u.Progress(t.Context())
		a := p.Begin("neurodamus-neocortex-multiscale linux/amd64")
		a.Item("installing", 12, 80, "hdf5-1.14.3")
		b := p.Begin("b")
		b.Count("listing", 12000, 0, Things)
		u.Log.Warn("look")
		if err := u.Print("a result"); err != nil {
			t.Fatal(err)
		}
		shown := rows(terminal.String())
		if len(shown) != 4 || shown[0] != "WARN look" || shown[1] != "a result" || !strings.Contains(shown[2], "  installing 12 of") || !strings.HasSuffix(shown[3], "b  listing 12000") {
			t.Errorf("%d columns: shown %q", width, shown)
		}
		for _, line := range shown {
			if runewidth.StringWidth(line) >= width {
				t.Errorf("%d columns: %q", width, line)
			}
		}
		a.End()
		if shown := rows(terminal.String()); len(shown) != 3 {
			t.Errorf("shown %q", shown)
		}
		p.Close()
		if shown := rows(terminal.String()); len(shown) != 2 {
			t.Errorf("stays: %q", shown)
		}
	}
}

// What a target does by two rooms at a time is shown by both.
func TestTwoProgressesAreShownOneBelowTheOther(t *testing.T) {
	u, terminal := drawn(80, 24)
	a, b := u.Progress(t.Context()), u.Progress(t.Context())
	a.Begin("a").Step("working")
	b.Begin("b").Step("working")
	u.screen.draw()
	if shown := rows(terminal.String()); len(shown) != 2 {
		t.Errorf("shown %q", shown)
	}
	b.Close()
	if shown := rows(terminal.String()); len(shown) != 1 || !strings.Contains(shown[0], "a  working") {
		t.Errorf("shown %q", shown)
	}
	a.Close()
}

func TestManyTasksLeaveRoomOnTheTerminal(t *testing.T) {
	u, terminal := drawn(80, 10)
	p := u.Progress(t.Context())
	defer p.Close()
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() { p.Begin("blob").Count("sent", 1, 2, Bytes) })
	}
	wait.Wait()
	if shown := rows(terminal.String()); len(shown) != 5 || shown[4] != "and 16 more" {
		t.Errorf("shown %q", shown)
	}
}

// Mage has written below the lines by then, and they are not ours to go back over.
func TestAnInterruptedTargetLeavesItsLines(t *testing.T) {
	u, terminal := drawn(80, 24)
	ctx, cancel := context.WithCancel(t.Context())
	p := u.Progress(ctx)
	p.Begin("a").Step("working")
	cancel()
	for !func() bool { u.screen.mu.Lock(); defer u.screen.mu.Unlock(); return len(u.screen.shown) == 0 }() {
		time.Sleep(time.Millisecond)
	}
	before := terminal.String()
	p.Close()
	if after := terminal.String(); after != before {
		t.Errorf("drawn afterwards: %q", strings.TrimPrefix(after, before))
	}
}

func TestALogHearsOfEachStepAndOfWhatTakesLong(t *testing.T) {
	var log bytes.Buffer
	p := New(&bytes.Buffer{}, &log, GitHub, Style{}).Progress(t.Context())
	defer p.Close()
	a := p.Begin("a")
	a.Item("installing", 1, 2, "zlib")
	a.Item("installing", 1, 2, "zlib")
	a.Step("saving\n::error::x")
	b := p.Begin("b")
	b.Count("fetched", 1<<20, 2<<20, Bytes)
	now := time.Now()
	p.speak(now)                       // b has not lasted yet
	p.speak(now.Add(3 * time.Second))  // now it has
	p.speak(now.Add(30 * time.Second)) // which was said
	p.speak(now.Add(70 * time.Second)) // both still go on
	var said []string
	for line := range strings.Lines(log.String()) {
		text, _, _ := strings.Cut(line, " after=")
		said = append(said, strings.TrimSpace(text))
	}
	want := []string{"INFO a: installing 1 of 2: zlib", `INFO a: saving\n::error::x`, "INFO b: fetched 1.0 MiB of 2.0 MiB", `INFO a: saving\n::error::x`, "INFO b: fetched 1.0 MiB of 2.0 MiB"}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("said %q", said)
	}
}

func TestAQuietTargetSaysWhatIsWrongAndNoMore(t *testing.T) {
	var log bytes.Buffer
	u := New(&bytes.Buffer{}, &log, "", Style{Quiet: true})
	p := u.Progress(t.Context())
	p.Begin("a").Step("working")
	u.Log.Info("done")
	u.Log.Warn("look")
	p.Close()
	if log.String() != "WARN look\n" {
		t.Errorf("said %q", log.String())
	}
}

func TestWhatIsLeftIsToldOnceItIsKnown(t *testing.T) {
	began := time.Now()
	task := Task{step: "sent", unit: Bytes, done: 30 << 20, of: 90 << 20, counted: began}
	for after, want := range map[time.Duration]string{
		time.Second:       "sent 30 MiB of 90 MiB",
		10 * time.Second:  "sent 30 MiB of 90 MiB, 3.0 MiB/s, 20s left",
		20 * time.Minute:  "sent 30 MiB of 90 MiB, 26 KiB/s, 40m left",
		910 * time.Second: "sent 30 MiB of 90 MiB, 34 KiB/s, 30m20s left",
	} {
		if got := task.text(began.Add(after)); got != want {
			t.Errorf("after %v: got %q, want %q", after, got, want)
		}
	}
}
