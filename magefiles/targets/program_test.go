package targets

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The program calls what mage would: every target of the source, with all its parameters.
func TestTheProgramHasAllTargets(t *testing.T) {
	functions := targetFunctions()
	for name, sig := range signatures() {
		function, ok := functions[name]
		if !ok {
			t.Errorf("%s cannot be called: add it to targetFunctions", name)
			continue
		}
		kind := function.Type()
		if kind.NumIn() != 1+len(sig.params) {
			t.Errorf("%s takes %d parameters, its source %d", name, kind.NumIn()-1, len(sig.params))
			continue
		}
		for i, p := range sig.params {
			in := kind.In(i + 1)
			if p.flag {
				in = in.Elem()
			}
			if in.Kind().String() != p.kind || !slices.Contains([]string{"string", "bool", "int", "float64"}, p.kind) {
				t.Errorf("%s: %s is of kind %s, in the source %s", name, p.name, in.Kind(), p.kind)
			}
			if p.flag && p.help == "" {
				t.Errorf("%s: --%s has no help", name, p.name)
			}
		}
		if sig.doc == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range functions {
		if _, ok := signatures()[name]; !ok {
			t.Errorf("%s is no target", name)
		}
	}
}

func TestHelpHasFlagsAsTheyAreTyped(t *testing.T) {
	sig, ok := helpWanted([]string{"-h", "Containers:Build"}, signatures())
	if !ok {
		t.Fatal("no help")
	}
	text := help(sig, "spacktainers")
	for _, want := range []string{
		"Build makes the image of a container", "\tspacktainers containers:build NAME [flags]\n", "--keep-going ", "--platform=VALUE ", "linux/amd64 or linux/arm64",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "keepGoing") {
		t.Errorf("a parameter's name is in\n%s", text)
	}
	for call, want := range map[string]string{"containers:check": "[NAME]", "sif:job": "[-- ARGUMENT ...]", "janitor:prune": "--max-fraction=NUMBER"} {
		if text := help(signatures()[call], "mage"); !strings.Contains(text, want) {
			t.Errorf("%s: %q is not in\n%s", call, want, text)
		}
	}
	if list := listTargets(signatures()); !strings.Contains(list, "containers:build") || !strings.Contains(list, "makes the image of a container") {
		t.Errorf("got\n%s", list)
	}
}

func TestACallHasItsArgumentsInOrder(t *testing.T) {
	args, err := rewrite(strings.Fields("containers:build x --json --keep-going --lock=a=b doctor"), signatures())
	if err != nil {
		t.Fatal(err)
	}
	got := calls(args, signatures())
	want := []call{
		{"containers:build", []string{"x"}, map[string]string{"json": "true", "keepgoing": "true", "lock": "a=b"}},
		{"doctor", []string{}, map[string]string{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	wrong := calls([]string{"janitor:report", "-top=x"}, signatures())
	if err := wrong[0].run(context.Background()); err == nil || !strings.Contains(err.Error(), `--top of janitor:report is "x": want a whole number`) {
		t.Errorf("got %v", err)
	}
}
