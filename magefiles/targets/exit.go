package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// The exit statuses beside 0, done or nothing to do.
const (
	exitFailed      = 1
	exitWrongCall   = 2
	exitInterrupted = 130
)

// A callError is a mistake in the call itself.
type callError struct{ error }

func (e callError) Unwrap() error { return e.error }

func wrongCall(format string, args ...any) error {
	return callError{fmt.Errorf(format, args...)}
}

// An exitError is how every target ends that did not succeed: mage prints its text and exits with
// its status.
type exitError struct {
	text   string
	status int
	err    error
}

func (e *exitError) Error() string   { return e.text }
func (e *exitError) Unwrap() error   { return e.err }
func (e *exitError) ExitStatus() int { return e.status }

// finish is deferred first by every target. It gives an error its exit status and makes plain lines
// of its text, which may quote what a registry, a build cache or a program has said. Who has
// interrupted a target is told that, and not how each room was stopped.
func finish(ctx context.Context, err *error) {
	if *err == nil {
		return
	}
	end := &exitError{text: ui.PlainLines(ui.Failures(*err)), status: exitFailed, err: *err}
	var call callError
	switch {
	case ctx.Err() != nil && errors.Is(*err, context.Canceled):
		end.text, end.status = "interrupted: the same call again goes on from here", exitInterrupted
	case errors.As(*err, &call):
		end.status = exitWrongCall
	}
	*err = end
}

// terminateAsInterrupt makes SIGTERM, which mage does not know, do what SIGINT
// does: cancel the target's context and wait for it to clean up.
func terminateAsInterrupt() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		for range term {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Signal(os.Interrupt)
			}
		}
	}()
}
