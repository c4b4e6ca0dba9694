// Package size tells a test how much time the run that it belongs to has: minutes at a desk, half
// an hour on CI, hours where everything is to be tried. Only tests import it.
package size

import (
	"fmt"
	"os"
	"testing"
)

// A Size is how much a run of the suite tries. A larger one holds all that a smaller one does.
type Size int

// The sizes, and the flag of the test target that asks for each.
const (
	Quick Size = iota // no flag: under five minutes on two cores, on any machine
	All               // --all: real servers, podman, fuzzing and the race detector, as CI runs it
	Long              // --long: the torture in full, and fuzzing for ten minutes each
)

// Variable is the environment variable by which the test target passes the size on to tests: all or
// long.
const Variable = "SPACKTAINERS_TEST_SIZE"

func (s Size) String() string { return []string{"quick", "all", "long"}[s] }

// Of returns the size of this run. A value that is no size is a mistake that must not pass for a
// quick run.
func Of() Size {
	switch value := os.Getenv(Variable); value {
	case "", Quick.String():
		return Quick
	case All.String():
		return All
	case Long.String():
		return Long
	default:
		panic(fmt.Sprintf("%s is %q: it is quick, all or long", Variable, value))
	}
}

// Need skips the test aloud where the run is smaller than the size that it takes.
func Need(t testing.TB, needed Size) {
	t.Helper()
	if Of() < needed {
		t.Skipf("left out of this size: go run magefile.go test --%v", needed)
	}
}

// Pick returns the value for the size of this run, such as a number of random histories.
func Pick[T any](quick, all, long T) T { return []T{quick, all, long}[Of()] }

// Count is Pick for the number of random cases: a tenth under the race detector, which finds nothing
// more in the others.
func Count(quick, all, long int) int {
	n := Pick(quick, all, long)
	if Race {
		n = max(n/10, 1)
	}
	return n
}
