package ui

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The logger's library asks a terminal for its colours only from the
// foreground, where the answer would reach the user's shell. So a child asks:
// the terminal is its own.
func TestATerminalInTheForegroundIsAskedNothing(t *testing.T) {
	const child = "SPACKTAINERS_TEST_CHILD"
	if os.Getenv(child) != "" {
		New(os.Stdout, os.Stderr, "", Style{})
		New(os.Stdout, os.Stderr, "", Style{NoColor: true})
		return
	}
	end, seen := terminal(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1", "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, end, end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if got := seen(); strings.Contains(got, escape) {
		t.Errorf("the terminal was sent %q", got)
	}
}
