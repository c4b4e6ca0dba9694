package push_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// newGPG returns what runs GnuPG with a key ring of its own, in which there is one pair of keys.
func newGPG(t *testing.T) func(args ...string) []byte {
	t.Helper()
	tooltest.Need(t, "gpg")
	home, err := os.MkdirTemp("", "gpg") // short: it makes sockets
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) []byte {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := command.Output(ctx, command.Exec(nil), command.Cmd{
			Args: append([]string{"gpg", "--batch", "--quiet", "--homedir=" + home, "--passphrase="}, args...),
		})
		if err != nil {
			t.Fatal(err)
		}
		return []byte(out)
	}
	t.Cleanup(func() {
		_ = command.Exec(nil)(context.Background(), command.Cmd{Args: []string{"gpgconf", "--homedir", home, "--kill", "all"}})
		os.RemoveAll(home)
	})
	run("--quick-gen-key", "test@example.org")
	return run
}
