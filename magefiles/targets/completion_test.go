package targets

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/terminal"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// offers is what each shell offers for a line: programs of the shell that print a word in each line,
// with the script of completion in $1 and the line in $2. In zsh compadd works on a terminal alone:
// what it is given is printed instead.
var offers = map[string]string{
	"bash": `source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _spacktainers; printf '%s\n' "${COMPREPLY[@]}"`,
	"fish": `source $argv[1]; complete -C $argv[2] | string replace -r '\t.*' ''`,
	"zsh": `compdef() {}; source "$1"; _files() {}; compset() {}
		compadd() { for word in "${@[$@[(i)--]+1,-1]}"; do [[ $word == $PREFIX* ]] && print -r -- $word; done }
		words=(${(z)2}); [[ $2 == *' ' ]] && words+=(''); CURRENT=$#words; PREFIX=$words[-1]; _spacktainers`,
}

// complete is what a shell offers for a line, in a folder.
func complete(t *testing.T, shell, dir, line string) string {
	t.Helper()
	args := map[string][]string{"bash": {"-c", offers["bash"], "bash"}, "fish": {"--no-config", "-c", offers["fish"]}, "zsh": {"-f", "-c", offers["zsh"], "zsh"}}[shell]
	cmd := exec.Command(shell, append(args, completionFile(t, shell), line)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+t.TempDir())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, _ := cmd.Output() // the status is that of the last word in fish and zsh
	if complaints.Len() > 0 {
		t.Fatalf("%s: %s", line, &complaints)
	}
	var words []string
	for word := range strings.FieldsSeq(string(out)) {
		at := strings.LastIndexAny(strings.TrimSuffix(word, "="), ":=") + 1
		words = append(words, word[at:]) // as bash has them, which completes what is behind the last of these
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

func completionFile(t *testing.T, shell string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(script, []byte(completion(shell, signatures())), 0o644); err != nil {
		t.Fatal(err)
	}
	return script
}

func TestShellsCompleteTargetsContainersAndFlags(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"amd64/hello", "arm64/hello", "amd64/help-me", "amd64/_shared", "amd64/$(touch pwned)", "amd64/`touch pwned`", "amd64/a b"} {
		if err := os.MkdirAll(filepath.Join(dir, "container_definitions", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "container_definitions", "amd64", "one.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "container_definitions", "amd64")
	for _, shell := range sortedKeys(shells) {
		t.Run(shell, func(t *testing.T) {
			tooltest.Need(t, shell)
			for line, want := range map[string]string{
				"mage quick":                                    "quickstart",
				"mage containers:wh":                            "why-miss",
				"spacktainers containers:build ":                "hello help-me one",
				"spacktainers containers:build he":              "hello help-me",
				"mage containers:build hello --eng":             "--engine=",
				"mage containers:build hello --engine=a":        "assemble",
				"mage containers:build hello --platform=linux/": "linux/amd64 linux/arm64",
				"mage containers:build hello --quie":            "--quiet",
				"mage base:build r":                             "runtime",
				"mage sif:build hello --engine=n":               "native",
				"mage completion ":                              "bash fish zsh",
				"mage doctor --":                                "--help --json --online --plain --quiet",
				"mage containers:check h":                       "hello help-me",
				"mage doctor containers:check h":                "hello help-me",
			} {
				if shell == "fish" { // it puts the value behind a space
					want = strings.TrimSuffix(want, "=")
				}
				if got := complete(t, shell, dir, line); got != want {
					t.Errorf("%s: got %q, want %q", line, got, want)
				}
			}
			if got := complete(t, shell, below, "mage containers:build o"); got != "one" {
				t.Errorf("below the root: got %q", got)
			}
			for _, at := range []string{dir, below} {
				if _, err := os.Stat(filepath.Join(at, "pwned")); err == nil {
					t.Error("a folder's name was run")
				}
			}
		})
	}
	t.Run("shellcheck", func(t *testing.T) {
		cmd := exec.Command(tooltest.Need(t, "shellcheck"), "--shell=bash", completionFile(t, "bash"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A person presses the key.
func TestZshCompletesOnATerminal(t *testing.T) {
	zsh := tooltest.Need(t, "zsh")
	home := t.TempDir()
	rc := "PS1='ready> '\nautoload -Uz compinit && compinit -D -u\nsource " + completionFile(t, "zsh") + "\nmage() { print -r -- \"called with <$1>\" }\n"
	if err := os.WriteFile(filepath.Join(home, ".zshrc"), []byte(rc), 0o644); err != nil {
		t.Fatal(err)
	}
	screen := terminal.Start(t, terminal.Program{Args: []string{zsh, "-i", "-d"}, Dir: home, Env: []string{"ZDOTDIR=" + home, "TERM=xterm"}})
	screen.Wait("ready>")
	screen.Type("mage containers:wh\t\n")
	screen.Wait("called with <containers:why-miss>")
}
