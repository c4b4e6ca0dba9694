package targets

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// Stock mage explains a target by Go's names and the comments: where a flag is written otherwise than
// Go's name the comment begins with how it is, which our own help leaves out.
func TestFlagsOfSeveralWordsAreSpelledOut(t *testing.T) {
	for _, pattern := range []string{"*.go", "../bare/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range parsed.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && isTarget(fn) {
					checkSpelling(t, fn, parsed.Comments)
				}
			}
		}
	}
	for name, sig := range signatures() {
		for _, p := range sig.params {
			if strings.HasPrefix(p.help, "--") {
				t.Errorf("%s: --%s is spelled twice: %s", name, p.name, p.help)
			}
		}
	}
}

func checkSpelling(t *testing.T, fn *ast.FuncDecl, comments []*ast.CommentGroup) {
	t.Helper()
	for _, field := range fn.Type.Params.List[1:] {
		name := field.Names[0].Name
		if _, optional := field.Type.(*ast.StarExpr); !optional || kebab(name) == name {
			continue
		}
		if want := "--" + kebab(name) + ": "; !strings.HasPrefix(behind(field, comments), want) {
			t.Errorf("%s: the comment of %s does not begin with %q", targetName(fn), name, want)
		}
	}
}

func TestHelpNamesTheProgramAsItIsCalled(t *testing.T) {
	for path, want := range map[string]string{
		"/root/.magefile/4f3a07201e7509190ce7d47eff75cb9f62f7053074480f223b84d89d82256735": "mage",
		"out/mage":                    "mage",
		"/usr/local/bin/spacktainers": "spacktainers",
	} {
		if got := calledAs(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if text := help(signatures()["containers:whymiss"], "mage"); !strings.Contains(text, "\tmage containers:why-miss NAME [flags]\n") {
		t.Error(text)
	}
}

func TestTheMagefileExplainsATargetAsTheTargetDoes(t *testing.T) {
	size.Need(t, size.All) // compiles the targets
	dir := clone(t)
	said := map[string]string{}
	for _, call := range []string{"-h containers:build", "containers:build --help"} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "magefile.go"}, strings.Fields(call)...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=-buildvcs=false")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		said[string(out)] = call
		if !strings.Contains(string(out), "\n\tmage containers:build NAME [flags]\n") || !strings.Contains(string(out), "\n  --keep-going ") {
			t.Errorf("%s: %s", call, out)
		}
	}
	if len(said) != 1 {
		t.Errorf("both differ: %q", said)
	}
}
