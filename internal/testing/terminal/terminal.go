// Package terminal has a test work with a program as a person does: on a real terminal of a given
// width, reading what it shows, typing, pressing Ctrl-C, and looking at what it has left behind.
// Only tests import it.
package terminal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/mattn/go-runewidth"
)

// patience is how long anything is waited for. What takes longer hangs.
const patience = time.Minute

// A Program is what is to be started.
type Program struct {
	Args    []string // the program and its arguments
	Dir     string
	Env     []string // NAME=value, added to our own environment, without what says that this is CI
	Columns int      // 0: 80
}

// A Terminal is a program at work on a terminal of its own.
type Terminal struct {
	t       testing.TB
	process *exec.Cmd
	screen  *os.File // our end
	columns int
	marker  string // in the environment of all that the program starts

	mu      sync.Mutex
	changed *sync.Cond
	shown   bytes.Buffer
	closed  bool
}

// marker is the variable by which a process is known as one that the program has started.
const marker = "SPACKTAINERS_TEST_TERMINAL"

// Start starts a program. It is killed at the end of the test, if it is still there.
func Start(t testing.TB, p Program) *Terminal {
	t.Helper()
	columns := p.Columns
	if columns == 0 {
		columns = 80
	}
	term := &Terminal{t: t, columns: columns, marker: marker + "=" + rand.Text()}
	term.changed = sync.NewCond(&term.mu)
	term.process = exec.CommandContext(t.Context(), p.Args[0], p.Args[1:]...)
	term.process.Dir = p.Dir
	term.process.Env = append(withoutCI(os.Environ()), "TERM=xterm-256color", term.marker)
	term.process.Env = append(term.process.Env, p.Env...)
	screen, err := pty.StartWithSize(term.process, &pty.Winsize{Rows: 24, Cols: uint16(columns)})
	if err != nil {
		t.Fatalf("start %v on a terminal: %v", p.Args, err)
	}
	term.screen = screen
	go term.read()
	t.Cleanup(func() {
		_ = term.process.Process.Kill()
		_ = screen.Close()
		for _, pid := range term.Processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return term
}

func withoutCI(environment []string) (kept []string) {
	for _, assignment := range environment {
		name, _, _ := strings.Cut(assignment, "=")
		switch name {
		case "CI", "GITHUB_ACTIONS", "GITLAB_CI", "NO_COLOR", "TERM", "GITHUB_STEP_SUMMARY":
		default:
			kept = append(kept, assignment)
		}
	}
	return kept
}

// read takes in what is shown, until the last process has let go of the terminal.
func (t *Terminal) read() {
	piece := make([]byte, 4096)
	for {
		n, err := t.screen.Read(piece)
		t.mu.Lock()
		t.shown.Write(piece[:n])
		t.closed = err != nil
		t.changed.Broadcast()
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Output returns all that was shown, with its escape codes.
func (t *Terminal) Output() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.String()
}

// Wait returns when a text was shown. The test fails where the program ends before.
func (t *Terminal) Wait(text string) {
	t.t.Helper()
	timer := time.AfterFunc(patience, func() { t.mu.Lock(); t.closed = true; t.changed.Broadcast(); t.mu.Unlock() })
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !strings.Contains(t.shown.String(), text) {
		if t.closed {
			t.t.Fatalf("never shown: %q; shown was:\n%s", text, t.shown.String())
		}
		t.changed.Wait()
	}
}

// WaitFor returns when a channel is closed, such as by a server that the program asks. The test fails
// where the program ends before.
func (t *Terminal) WaitFor(reached <-chan struct{}) {
	t.t.Helper()
	for {
		select {
		case <-reached:
			return
		case <-time.After(20 * time.Millisecond):
		}
		t.mu.Lock()
		closed := t.closed
		t.mu.Unlock()
		if closed {
			t.t.Fatalf("ended too early; shown was:\n%s", t.Output())
		}
	}
}

// WaitFile returns when a file of a folder, such as a log, holds a text.
func (t *Terminal) WaitFile(dir, text string) {
	t.t.Helper()
	found := make(chan struct{})
	done := make(chan struct{})
	defer close(done)
	go func() {
		for !holds(dir, text) {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		close(found)
	}()
	t.WaitFor(found)
}

func holds(dir, text string) (found bool) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			content, _ := os.ReadFile(path)
			found = found || bytes.Contains(content, []byte(text))
		}
		return nil
	})
	return found
}

// Type types text.
func (t *Terminal) Type(text string) {
	t.t.Helper()
	if _, err := t.screen.WriteString(text); err != nil {
		t.t.Fatal(err)
	}
}

// Interrupt presses Ctrl-C, which reaches all processes in the foreground.
func (t *Terminal) Interrupt() { t.t.Helper(); t.Type("\x03") }

// Signal sends a signal to the program alone.
func (t *Terminal) Signal(s os.Signal) {
	t.t.Helper()
	if err := t.process.Process.Signal(s); err != nil {
		t.t.Fatal(err)
	}
}

// End waits for the program's end and returns its exit status; -1 where a signal ended it.
func (t *Terminal) End() int {
	t.t.Helper()
	hangs := time.AfterFunc(patience, func() {
		t.t.Errorf("%v does not end; shown was:\n%s", t.process.Args, t.Output())
		_ = t.process.Process.Kill()
	})
	defer hangs.Stop()
	err := t.process.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.t.Fatal(err)
	}
	t.mu.Lock()
	for deadline := time.Now().Add(time.Second); !t.closed && time.Now().Before(deadline); {
		t.mu.Unlock() // a process that is left may hold the terminal
		time.Sleep(5 * time.Millisecond)
		t.mu.Lock()
	}
	t.mu.Unlock()
	return t.process.ProcessState.ExitCode()
}

// Processes returns the processes that the program has started and that are still there.
func (t *Terminal) Processes() (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environment, err := os.ReadFile(path) // empty where the process has ended and nobody has asked for its status
		if err == nil && bytes.Contains(append([]byte{0}, environment...), []byte("\x00"+t.marker+"\x00")) {
			var pid int
			if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Left returns the command lines of the processes that are still there after a moment in which those
// that were killed can vanish.
func (t *Terminal) Left() (lines []string) {
	pids := t.Processes()
	for deadline := time.Now().Add(5 * time.Second); len(pids) > 0 && time.Now().Before(deadline); pids = t.Processes() {
		time.Sleep(20 * time.Millisecond)
	}
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		lines = append(lines, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
	}
	return lines
}

var escapes = regexp.MustCompile("\x1b(\\[[0-9;?]*[A-Za-z]|\\][^\x07]*\x07)")

// Wide returns the lines that were wider than the terminal. A terminal wraps them, and what then goes
// back over its lines leaves pieces.
func (t *Terminal) Wide() (lines []string) {
	for line := range strings.Lines(escapes.ReplaceAllString(t.Output(), "")) {
		for _, painted := range strings.Split(strings.TrimRight(line, "\r\n"), "\r") {
			if runewidth.StringWidth(painted) > t.columns {
				lines = append(lines, painted)
			}
		}
	}
	return lines
}

// CursorHidden reports whether the program has left the terminal without its cursor.
func (t *Terminal) CursorHidden() bool {
	shown := t.Output()
	return strings.LastIndex(shown, "\x1b[?25l") > strings.LastIndex(shown, "\x1b[?25h")
}
