package command

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// An Error says which command went wrong, and how.
type Error struct {
	Args     []string // secrets are hidden
	ExitCode int      // -1 where it never ended by itself: not started, or killed by a signal
	Tail     string   // the last lines of its standard error
	err      error
}

// Error is one sentence, followed by the lines of the tail where there are several.
func (e *Error) Error() string {
	s := fmt.Sprintf("run %s: %v", shorten(Quote(e.Args), 240), e.err)
	switch {
	case e.Tail == "":
		return s
	case strings.Contains(e.Tail, "\n"):
		return s + ":\n\t" + strings.ReplaceAll(e.Tail, "\n", "\n\t")
	}
	return s + ": " + e.Tail
}

// Unwrap returns the cause: the context's where it was cancelled, else what os/exec said.
func (e *Error) Unwrap() error { return e.err }

func notFound(name string, err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("run %s: program not found: %w: the target doctor says how to install it", name, err)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}
