package targets

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

func TestOnlyTheProtectedDefaultBranchMakesReleasesInCI(t *testing.T) {
	yes, no := true, false
	main := gitEnvironment{Branch: "main", Default: "main", Protected: true}
	change := func(f func(*gitEnvironment)) gitEnvironment { g := main; f(&g); return g }
	for what, c := range map[string]struct {
		ci      string
		git     gitEnvironment
		flag    *bool
		release bool
		refused bool
	}{
		"the protected default branch":       {"github", main, nil, true, false},
		"said twice":                         {"gitlab", main, &yes, true, false},
		"an unprotected default branch":      {"github", change(func(g *gitEnvironment) { g.Protected = false }), nil, false, false},
		"another protected branch":           {"gitlab", change(func(g *gitEnvironment) { g.Branch = "staging" }), nil, false, false},
		"a pull request":                     {"github", change(func(g *gitEnvironment) { g.Pull = true }), nil, false, false},
		"a protected tag":                    {"gitlab", change(func(g *gitEnvironment) { g.Branch, g.Tag = "", "main" }), nil, false, false},
		"a branch that says --release":       {"github", change(func(g *gitEnvironment) { g.Branch = "evil" }), &yes, false, true},
		"a pull request that says --release": {"gitlab", change(func(g *gitEnvironment) { g.Pull = true }), &yes, false, true},
		"a shell":                            {"", gitEnvironment{Branch: "main", Default: "main"}, nil, false, false},
		"a shell that says --release":        {"", gitEnvironment{Branch: "topic", Default: "main"}, &yes, true, false},
		"a shell that says --release=false":  {"", gitEnvironment{Branch: "main", Default: "main"}, &no, false, false},
	} {
		a := &app{env: environment{CI: c.ci, Git: c.git}}
		is, scope, err := a.release(t.Context(), c.flag)
		if (err != nil) != c.refused || is != c.release || (scope == "release") != is {
			t.Errorf("%s: got %v, %q, %v", what, is, scope, err)
		}
	}
}

// GitHub runs jobs of workflow_run and issue_comment for the default branch, and they often check
// out a pull request.
func TestACheckoutOfAnotherCommitMakesNoRelease(t *testing.T) {
	t.Chdir(t.TempDir())
	run := func(args ...string) string {
		t.Helper()
		out, err := command.Output(t.Context(), command.Exec(nil), command.Cmd{Args: append([]string{"git", "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("init", "-q", "-b", "main")
	run("commit", "-q", "--allow-empty", "-m", "reviewed")
	reviewed := run("rev-parse", "HEAD")
	run("checkout", "-q", "-b", "pull")
	run("commit", "-q", "--allow-empty", "-m", "of a stranger")
	for _, ci := range []string{"github", "gitlab"} {
		a := &app{env: environment{CI: ci, Git: gitEnvironment{Branch: "main", Default: "main", Protected: true, Commit: reviewed}}, UI: ui.New(io.Discard, io.Discard, ui.CI(ci), ui.Style{})}
		yes := true
		if is, _, err := a.release(t.Context(), nil); is || err != nil {
			t.Errorf("%s: a pull request's checkout makes a release: %v", ci, err)
		}
		if is, _, err := a.release(t.Context(), &yes); is || err == nil {
			t.Errorf("%s: and with --release: %v", ci, err)
		}
		run("checkout", "-q", "main")
		if is, _, err := a.release(t.Context(), nil); !is || err != nil {
			t.Errorf("%s: the reviewed commit makes none: %v", ci, err)
		}
		run("checkout", "-q", "pull")
	}
}

func TestKeysComeFromAFileOrFromAVariableAndAreNeverRepeated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []secretFile{{"X", path, ""}, {"X", "", "canary"}} {
		if text, err := f.read(); err != nil || string(text) != "canary" {
			t.Errorf("got %s, %v", text, err)
		}
	}
	for _, f := range []secretFile{
		{"X", path, "canary"}, {"X", "-----BEGIN canary", ""}, {"X", "canary/canary", ""}, {"X", strings.Repeat("canary", 1000), ""}, {"X", "canary\x00", ""},
	} {
		if _, err := f.read(); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "X_CONTENT") {
			t.Errorf("got %v", err)
		}
	}
}
