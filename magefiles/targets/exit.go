package targets

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// The exit statuses beside 0, done or nothing to do, and 1, failed.
const exitWrongCall = 2

// A callError is a mistake in the call itself: mage exits with its status.
type callError struct{ error }

func (callError) ExitStatus() int { return exitWrongCall }

func (e callError) Unwrap() error { return e.error }

func wrongCall(format string, args ...any) error {
	return callError{fmt.Errorf(format, args...)}
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
