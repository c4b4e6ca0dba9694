package targets

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// complete is what bash offers for a line, in a folder.
func complete(t *testing.T, dir, line string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(script, []byte(completion(signatures())+bashCompletion), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", `source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _spacktainers; printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '`, "bash", script, line)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestBashCompletesTargetsContainersAndFlags(t *testing.T) {
	tooltest.Need(t, "bash")
	dir := t.TempDir()
	for _, name := range []string{"amd64/hello", "arm64/hello", "amd64/help-me", "amd64/_shared", "amd64/$(touch pwned)", "amd64/`touch pwned`", "amd64/a b"} {
		if err := os.MkdirAll(filepath.Join(dir, "container_definitions", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "container_definitions", "amd64", "one.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"mage quick":                                    "quickstart",
		"mage containers:wh":                            "why-miss",
		"spacktainers containers:build ":                "hello help-me one",
		"spacktainers containers:build he":              "hello help-me",
		"mage containers:build hello --eng":             "--engine=",
		"mage containers:build hello --engine=a":        "assemble",
		"mage containers:build hello --platform=linux/": "linux/amd64 linux/arm64",
		"mage base:build r":                             "runtime",
		"mage sif:build hello --engine=n":               "native",
		"mage doctor --":                                "--help --json",
		"mage no-such --":                               "",
		"mage containers:check h":                       "hello help-me",
	} {
		if strings.HasPrefix(line, "mage doctor") {
			want = complete(t, dir, "mage doctor --") // whatever its flags are
			if !strings.Contains(want, "--json") {
				t.Errorf("%s: got %q", line, want)
			}
			continue
		}
		if got := complete(t, dir, line); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	if got := complete(t, filepath.Join(dir, "container_definitions", "amd64"), "mage containers:build o"); got != "one" {
		t.Errorf("below the root: got %q", got)
	}
	for _, at := range []string{dir, filepath.Join(dir, "container_definitions", "amd64")} {
		if _, err := os.Stat(filepath.Join(at, "pwned")); err == nil {
			t.Error("a folder's name was run")
		}
	}
	if path, err := exec.LookPath("shellcheck"); err == nil {
		cmd := exec.Command(path, "--shell=bash", "-")
		cmd.Stdin = strings.NewReader(completion(signatures()) + bashCompletion)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("shellcheck: %v\n%s", err, out)
		}
	}
}
