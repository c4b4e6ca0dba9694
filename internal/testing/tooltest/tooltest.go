// Package tooltest is how a test asks for a program that not every machine has. Only tests import
// it.
package tooltest

import (
	"os"
	"os/exec"
	"testing"
)

// Require is the variable that, set to 1, makes a test fail where it would otherwise skip for want
// of a program: a CI machine that has lost podman must not look green.
const Require = "SPACKTAINERS_REQUIRE_TOOLS"

// Required reports whether a missing program is a failure here.
func Required() bool { return os.Getenv(Require) == "1" }

// Need returns the path of the program, or ends the test: skipped aloud, or failed where Require is
// set.
func Need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
	case Required():
		t.Fatalf("needs %s, and %s=1 forbids to skip", program, Require)
	default:
		t.Skipf("needs %s", program)
	}
	return path
}
