package tooltest

import (
	"fmt"
	"runtime"
	"testing"
)

// A recorder is a testing.TB that notes how it ended.
type recorder struct {
	testing.TB
	skipped, failed bool
	said            string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped, r.said = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed, r.said = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}
