package targets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
