package assemble

import (
	"github.com/openbraininstitute/spacktainers/internal/views"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// sh runs a script of the image with the shell of this machine.
func sh(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tooltest.Need(t, "sh"), args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEntrypointKeepsQuoting(t *testing.T) {
	path := script(t, "profile.sh", profile(environment([]viewTree{{View: views.Default(View)}}, nil, nil), nil))
	entry := script(t, "entrypoint.sh", strings.ReplaceAll(entrypointScript, profileScript, path))
	got := sh(t, []string{"PATH=/usr/bin:/bin"}, entry, "printf", "<%s>", `print("a b")`, "$HOME", "", "*")
	if want := `<print("a b")><$HOME><><*>`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestProfileReadTwiceAddsNothingTwice(t *testing.T) {
	path := script(t, "profile.sh", profile(environment([]viewTree{{View: views.Default(View)}}, nil, nil), map[string]string{"QUOTED": `it's "$HOME"`}))
	print := `. "$1"; . "$1"; echo "$PATH|$MANPATH|$CMAKE_PREFIX_PATH|$QUOTED"`
	got := strings.TrimSpace(sh(t, []string{"PATH=/usr/bin:/bin", "HOME=/root"}, "-euc", print, "sh", path))
	want := `/opt/view/bin:/usr/bin:/bin|/opt/view/share/man:/opt/view/man:|/opt/view|it's "$HOME"`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheCallersVariablesStay(t *testing.T) {
	path := script(t, "profile.sh", profile(environment([]viewTree{{View: views.Default(View)}}, nil, nil), map[string]string{"OMP_NUM_THREADS": "1", "OTHER": "x"}))
	env := []string{"PATH=/usr/bin:/bin", "OMP_NUM_THREADS=8", "SPACK_ENV="}
	got := strings.TrimSpace(sh(t, env, "-euc", `. "$1"; echo "$OMP_NUM_THREADS|$SPACK_ENV|$OTHER|$SPACK_ENV_VIEW"`, "sh", path))
	if want := "8||x|default"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSbangRunsTheInterpreterOfTheSecondLine(t *testing.T) {
	sbangPath := script(t, "sbang", sbang)
	for name, test := range map[string]struct{ first, second, want string }{
		"plain":          {"#!/bin/sh " + sbangPath, "#!/bin/sh", "sh <a b> <c>"},
		"with argument":  {"#!/bin/sh " + sbangPath, "#!/bin/sh -u", "sh <a b> <c>"},
		"space":          {"#!/bin/sh " + sbangPath, "#! /bin/sh", "sh <a b> <c>"},
		"lua's comment":  {"#!/bin/sh " + sbangPath, "--!/bin/sh", "sh <a b> <c>"},
		"node's comment": {"#!/bin/sh " + sbangPath, "//!/bin/sh", "sh <a b> <c>"},
	} {
		t.Run(name, func(t *testing.T) {
			body := "printf sh; printf ' <%s>' \"$@\"; echo; exit"
			path := script(t, "program", test.first+"\n"+test.second+"\n"+body+"\n")
			got := sh(t, []string{"PATH=/usr/bin:/bin"}, sbangPath, path, "a b", "c")
			// Comments of other languages are commands to sh, which does not have them.
			if !strings.HasSuffix(strings.TrimSpace(got), test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
