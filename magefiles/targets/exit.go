package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
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
// interrupted a target is told that in one sentence, and not how each room was stopped.
func finish(ctx context.Context, err *error) {
	if *err == nil {
		if failed := theDocument.end(nil); failed != nil {
			*err = &exitError{text: failed.Error(), status: exitFailed, err: failed}
		}
		return
	}
	end := &exitError{text: ui.PlainLines(ui.Failures(*err)), status: exitFailed, err: *err}
	var call callError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		end.text, end.status = interruption, exitInterrupted
		if !errors.Is(*err, context.Canceled) {
			first, _, _ := strings.Cut(ui.Failures(*err), "\n")
			end.text += " (meanwhile: " + ui.Line(first) + ")"
		}
	case errors.As(*err, &call):
		end.status = exitWrongCall
	}
	_ = theDocument.end(&documentError{end.text, end.status}) // the target has failed already
	*err = end
	if summary != nil {
		_ = summary.Failed(end.text) // it is printed, whatever becomes of the summary
	}
}

// summary is where the failure of a target is told beside what it prints.
var summary *ui.UI

// interruption is all that is said of an interrupted target.
const interruption = "interrupted: the same call again goes on from here"

// working is true once a target is at work, and mage waits for signals.
var working atomic.Bool

// endEarly makes Ctrl-C before a target is at work end us as it does later, with a sentence and
// status 130. Mage, which asks for signals when it starts a target, makes of a death by SIGINT 255.
func endEarly() {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		for range interrupts {
			if !working.Load() {
				fmt.Fprintln(os.Stderr, "Error: interrupted before anything was done")
				os.Exit(exitInterrupted)
			}
		}
	}()
}

// terminateAsInterrupt makes SIGTERM, which mage does not know, do what SIGINT does: cancel the
// target's context and wait for it to clean up.
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
