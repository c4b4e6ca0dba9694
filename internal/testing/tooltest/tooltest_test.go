package tooltest

import (
	"path/filepath"
	"testing"
)

const absent = "no-such-program"

// outcome runs Need in a goroutine of its own, since it ends the one it is called in.
func outcome(t *testing.T, program string) (path string, in *recorder) {
	in = &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Need(in, program)
	}()
	<-done
	return path, in
}

func TestAPresentProgramIsReturned(t *testing.T) {
	path, in := outcome(t, "sh")
	if filepath.Base(path) != "sh" || in.skipped || in.failed {
		t.Errorf("got %q, %+v", path, in)
	}
}

func TestAMissingProgramSkipsOrFails(t *testing.T) {
	t.Setenv(Require, "")
	if _, in := outcome(t, absent); !in.skipped || in.failed || in.said != "needs "+absent {
		t.Errorf("optional: %+v", in)
	}
	t.Setenv(Require, "1")
	if _, in := outcome(t, absent); in.skipped || !in.failed {
		t.Errorf("required: %+v", in)
	}
}
