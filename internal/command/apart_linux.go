package command

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// interruptAfter is how long a program may take to tidy up by itself after its inner processes have
// ended, before it is interrupted.
const interruptAfter = time.Second

// apart puts a program that is about to start into a session of its own, and says how it is ended:
// first the processes that it runs in another root, such as the step of a build, since what starts
// containers tidies up after a step that fails and not when it is interrupted; a second later the
// program is interrupted; and what is still there when it has ended, or when its time is up, is
// killed. It ends also when we are killed. The function that is returned does the last of it.
func apart(p *exec.Cmd) (after func()) {
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	var mu sync.Mutex
	var ending bool
	var inner []process // all that was seen while it was being ended
	var timer *time.Timer
	look := func() []process {
		now := descendants(p.Process.Pid)
		mu.Lock()
		defer mu.Unlock()
		ending, inner = true, append(inner, now...)
		return now
	}
	p.Cancel = func() error {
		own, err := os.Stat(rootOf(p.Process.Pid))
		inOtherRoot := func(d process) bool {
			root, statErr := os.Stat(rootOf(d.pid))
			return err == nil && statErr == nil && !os.SameFile(own, root)
		}
		steps := slices.DeleteFunc(look(), func(d process) bool { return !inOtherRoot(d) })
		if len(steps) == 0 {
			return p.Process.Signal(os.Interrupt)
		}
		for _, step := range steps {
			step.kill()
		}
		mu.Lock()
		defer mu.Unlock()
		timer = time.AfterFunc(interruptAfter, func() {
			look()
			_ = p.Process.Signal(os.Interrupt) // where it has ended there is nothing to interrupt
		})
		return nil
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if !ending {
			return // it has ended by itself, and what it leaves at work is meant to stay
		}
		if timer != nil {
			timer.Stop()
		}
		for _, d := range append(inner, inSession(p.Process.Pid)...) {
			d.kill()
		}
	}
}

func rootOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid), "root") }

// A process is known by its number and by when it started: numbers are used again.
type process struct {
	pid, parent, session int
	start                string
	dead                 bool // it has ended, and nobody has asked how
}

// kill ends a process, unless its number is another one's by now.
func (p process) kill() {
	if now, err := readProcess(p.pid); err == nil && now.start == p.start {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// descendants returns the processes below one.
func descendants(pid int) (found []process) {
	all := processes()
	below := map[int]bool{pid: true}
	for more := true; more; {
		more = false
		for _, p := range all {
			if below[p.parent] && !below[p.pid] {
				below[p.pid], more = true, true
				found = append(found, p)
			}
		}
	}
	return found
}

func inSession(session int) []process {
	return slices.DeleteFunc(processes(), func(p process) bool { return p.session != session })
}

func processes() (all []process) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, err := readProcess(pid); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// readProcess reads proc(5)'s stat: the name, in parentheses, may hold anything.
func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return process{}, os.ErrInvalid
	}
	p := process{pid: pid, start: fields[19], dead: fields[0] == "Z"}
	if p.parent, err = strconv.Atoi(fields[1]); err == nil {
		p.session, err = strconv.Atoi(fields[3])
	}
	return p, err
}

// interrupted reports whether a program was ended by what Ctrl-C sends.
func interrupted(exit *exec.ExitError) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (status.Signaled() && status.Signal() == syscall.SIGINT || status.ExitStatus() == 128+int(syscall.SIGINT))
}
