package command

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// killAfter is how long an interrupted program may clean up. Mage gives us five seconds for
// everything.
const killAfter = 3 * time.Second

// Exec returns the Runner that really runs programs. What a command does not want for itself goes
// to log; nil drops it.
func Exec(log io.Writer) Runner {
	if log == nil {
		log = io.Discard
	}
	shared := &lockedWriter{w: log} // both streams of several commands end up here
	return func(ctx context.Context, c Cmd) error {
		if len(c.Args) == 0 {
			return errors.New("run: no program named")
		}
		out, errs := Redact(shared, c.Secrets...), Redact(shared, c.Secrets...) // apart: a secret may arrive in pieces
		defer out.Close()
		defer errs.Close()
		var end tail
		p := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
		p.Dir = c.Dir
		p.Env = append(environment(p.Environ(), c.Clean, c.Keep), c.Env...)
		p.Stdin = c.Stdin
		p.Stdout = either(c.Stdout, out)
		p.Stderr = io.MultiWriter(&end, either(c.Stderr, errs))
		p.Cancel = func() error { return p.Process.Signal(os.Interrupt) }
		p.WaitDelay = killAfter
		if c.Apart {
			runtime.LockOSThread() // the program is told of the end of the thread that started it
			defer runtime.UnlockOSThread()
			defer apart(p)()
		}
		return explain(ctx, c, p.Run(), end.String())
	}
}

// explain turns what running c came to into the error that a person reads.
func explain(ctx context.Context, c Cmd, err error, end string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		return nil // it ended well, and only something it left running (ssh, conmon) still holds the pipe
	case errors.Is(err, exec.ErrNotFound):
		return notFound(c.Args[0], err)
	}
	e := &Error{Args: redactAll(c.Args, c.Secrets), ExitCode: -1, Tail: redact(end, c.Secrets), err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.ExitCode = exit.ExitCode()
		if interrupted(exit) {
			awaitCancel(ctx)
		}
	}
	if ctx.Err() != nil {
		e.err = context.Cause(ctx)
	}
	return e
}

// awaitCancel waits a moment for a context to be cancelled. A terminal's Ctrl-C reaches the program
// and us at once, and the program may have ended before we have heard.
func awaitCancel(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(300 * time.Millisecond):
	}
}

func either(w, otherwise io.Writer) io.Writer {
	if w == nil {
		return otherwise
	}
	return w
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
