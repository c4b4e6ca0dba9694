// Package arrows holds the house rules: which room may know which. It has tests only, and reads the
// source as it lies in the folder, whatever its build tags.
package arrows

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/openbraininstitute/spacktainers"

func TestTheHouseRulesHold(t *testing.T) {
	breaches, err := inspect(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range breaches {
		t.Error(b)
	}
}

// root is the nearest folder above that holds go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above")
		}
		dir = filepath.Dir(dir)
	}
}

// inspect returns a sentence for each breach of a rule in the tree.
func inspect(tree fs.FS) (breaches []string, err error) {
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.ContainsAny(d.Name()[:1], "._") || d.Name() == "testdata" || d.Name() == "out"):
			return fs.SkipDir // the go command does not look there either, and out is what we build
		case d.IsDir() || path.Ext(name) != ".go" || d.Name() == "mage_output_file.go": // mage's own, while it compiles
			return nil
		}
		found, err := inspectFile(tree, name)
		breaches = append(breaches, found...)
		return err
	})
	return breaches, err
}

func inspectFile(tree fs.FS, name string) (breaches []string, err error) {
	content, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, content, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if path.Dir(name) == "." && name != "magefile.go" {
		breaches = append(breaches, name+": the root holds no Go file but magefile.go")
	}
	if slices.Contains(vague, strings.TrimSuffix(file.Name.Name, "_test")) {
		breaches = append(breaches, fmt.Sprintf("%s: package %s says nothing: name it for what it holds", name, file.Name.Name))
	}
	isTest := strings.HasSuffix(name, "_test.go")
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		if why := forbidden(path.Dir(name), imported, isTest); why != "" {
			breaches = append(breaches, fmt.Sprintf("%s imports %s: %s", name, imported, why))
		}
	}
	if !isTest && !slices.Contains(readers, name) && readsEnvironment(file) {
		breaches = append(breaches, name+" reads an environment variable: only magefiles/targets/config.go does, and passes values on")
	}
	return breaches, nil
}

// forbidden says why a package may not import another, or nothing where it may.
func forbidden(pkg, imported string, isTest bool) string {
	room, ours := strings.CutPrefix(imported, module+"/")
	switch {
	case ours && room == "magefiles/targets" && pkg != room && !slices.Contains(starters, pkg):
		return "nothing imports the targets"
	case isTest:
		return ""
	case ours && isTestOnly(room) && !isTestOnly(pkg):
		return "only tests may"
	case ours && !slices.ContainsFunc(arrows[pkg], func(to string) bool { return covers(to, room) }):
		return fmt.Sprintf("no arrow leads there from %s; if one should, add it to arrows in internal/testing/arrows", pkg)
	}
	for _, b := range bans {
		if under(b.from, pkg) && under(b.imports, imported) && !slices.Contains(b.but, pkg) {
			return b.why
		}
	}
	return ""
}

func isTestOnly(pkg string) bool {
	return slices.ContainsFunc(testOnly, func(dir string) bool { return under(dir, pkg) })
}

// covers reports whether an arrow to one package, or to "folder/...", leads to room.
func covers(arrow, room string) bool {
	if dir, all := strings.CutSuffix(arrow, "/..."); all {
		return under(dir, room)
	}
	return arrow == room
}

func under(dir, name string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

// readsEnvironment looks for os.Getenv and its kin, under whatever name the file imports os.
func readsEnvironment(file *ast.File) bool {
	names := map[string]bool{}
	for _, spec := range file.Imports {
		switch {
		case spec.Path.Value != `"os"`:
		case spec.Name == nil:
			names["os"] = true
		default:
			names[spec.Name.Name] = true
		}
	}
	found := names["."] // then anything may be os.Getenv
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Getenv", "LookupEnv", "ExpandEnv", "Environ"}, sel.Sel.Name) {
			if id, ok := sel.X.(*ast.Ident); ok && names[id.Name] {
				found = true
			}
		}
		return true
	})
	return found
}
