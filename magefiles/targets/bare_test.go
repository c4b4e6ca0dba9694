package targets

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Mage finds bare targets such as containers only outside of the package with that namespace, and
// gives them their arguments by position. So each repeats the signature of a method of Bare: with the same
// parameters, in the same order, handed over by name.
func TestTheBareTargetsRepeatWhatTheyCall(t *testing.T) {
	methods := map[string][]string{}
	files, _ := source.ReadDir(".")
	for _, file := range files {
		text, _ := source.ReadFile(file.Name())
		for _, fn := range functions(t, file.Name(), text) {
			if fn.Recv != nil && isTarget(fn) && fn.Recv.List[0].Type.(*ast.Ident).Name == "Bare" {
				methods[fn.Name.Name] = parameters(fn)
			}
		}
	}
	bare := functions(t, "../bare/bare.go", nil)
	if len(bare) == 0 || len(bare) != len(methods) {
		t.Errorf("package bare has %d bare targets, Bare %d", len(bare), len(methods))
	}
	for _, fn := range bare {
		name := fn.Name.Name
		if diff := cmp.Diff(methods[name], parameters(fn)); diff != "" {
			t.Errorf("%s of Bare and of package bare differ:\n%s", name, diff)
		}
		var given []string
		call := fn.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.CallExpr)
		for _, arg := range call.Args {
			given = append(given, arg.(*ast.Ident).Name)
		}
		var named []string
		for _, p := range parameters(fn) {
			word, _, _ := strings.Cut(p, " ")
			named = append(named, word)
		}
		if called := call.Fun.(*ast.SelectorExpr).Sel.Name; called != name || !slices.Equal(given, named) {
			t.Errorf("%s calls %s(%s), want %s", name, called, strings.Join(given, ", "), strings.Join(named, ", "))
		}
	}
}

func functions(t *testing.T, name string, text []byte) (found []*ast.FuncDecl) {
	t.Helper()
	var from any
	if text != nil {
		from = text
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, from, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.IsExported() {
			found = append(found, fn)
		}
	}
	return found
}

// parameters are "name type", one for each.
func parameters(fn *ast.FuncDecl) (all []string) {
	for _, field := range fn.Type.Params.List {
		kind := ""
		switch e := field.Type.(type) {
		case *ast.StarExpr:
			kind = "*" + e.X.(*ast.Ident).Name
		case *ast.Ident:
			kind = e.Name
		case *ast.SelectorExpr:
			kind = e.Sel.Name
		}
		for _, name := range field.Names {
			all = append(all, name.Name+" "+kind)
		}
	}
	return all
}
