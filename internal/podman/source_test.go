package podman

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// People say git pull in the builder.
func TestWhatWasABranchCanBePulled(t *testing.T) {
	tooltest.Need(t, "git")
	run := command.Exec(nil)
	git := func(dir string, args ...string) string {
		t.Helper()
		out, err := command.Output(t.Context(), run, gitCmd(dir, append([]string{"-c", "user.name=test", "-c", "user.email=test@example.org"}, args...)...))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	unasked := func(ctx context.Context, c command.Cmd) error {
		if slices.Contains(c.Args, "ls-remote") {
			return errors.New("the server is asked a second time what a ref is, which may fail")
		}
		return run(ctx, c)
	}
	up := filepath.Join(t.TempDir(), "up")
	if err := os.Mkdir(up, 0o755); err != nil {
		t.Fatal(err)
	}
	git(up, "init", "--quiet", "--initial-branch=develop")
	git(up, "commit", "--quiet", "--allow-empty", "--message=one")
	git(up, "tag", "v1")
	for name, c := range map[string]struct {
		source Source
		branch string
	}{
		"a branch":                 {Source{URL: "file://" + up, Ref: "develop"}, "develop"},
		"a tag":                    {Source{URL: "file://" + up, Ref: "v1"}, ""},
		"a commit":                 {Source{URL: "file://" + up, Ref: git(up, "rev-parse", "HEAD")}, ""},
		"a folder of this machine": {Source{URL: up, Ref: "develop"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := c.source.Pin(t.Context(), run)
			dir := filepath.Join(t.TempDir(), "here")
			if err == nil {
				err = source.fetch(t.Context(), unasked, dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := git(dir, "branch", "--show-current"); got != c.branch {
				t.Errorf("on branch %q, want %q", got, c.branch)
			}
			if c.branch == "" {
				return
			}
			git(up, "commit", "--quiet", "--allow-empty", "--message=two")
			git(dir, "pull", "--quiet")
			if got := git(dir, "log", "-1", "--format=%s"); !strings.HasPrefix(got, "two") {
				t.Errorf("after git pull: %q", got)
			}
		})
	}
}

// What does not answer is told once, however many ask, and however long each has waited.
func TestTheReasonOfGitIsTheSameForAll(t *testing.T) {
	for _, waited := range []string{"0 ms", "1 ms", "30001 milliseconds"} {
		err := &command.Error{Args: []string{"git"}, ExitCode: 128, Tail: "fatal: unable to access 'https://h/': Failed to connect to h port 1 after " + waited + ": Couldn't connect to server"}
		if got, want := gitsReason(t.Context(), err).Error(), "unable to access 'https://h/': Failed to connect to h port 1: Couldn't connect to server"; got != want {
			t.Errorf("after %s: %s", waited, got)
		}
	}
}
