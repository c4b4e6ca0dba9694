package torture

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// An edit replaces a text that stands once in a file below janitor/.
type edit struct{ file, old, new string }

// The mutations are janitors that trust what must not be trusted. They were written when the oracle
// was finished; each is made to a copy of the module, and some history of 500 must break a promise.
// Where two checks guard the same promise, both are taken out: that is what the second one is for.
var mutations = map[string][]edit{
	"no hold": {
		{"plan_decide.go", "if p.held.has(at) {\n\t\t\tp.state[at] = holding", "if false {\n\t\t\tp.state[at] = holding"},
		{"run_apply.go", "case held.has(at):", "case false:"},
		{"run_check.go", "if goes(to) {", "if false {"},
	},
	"live specs alone rescue": {
		{"plan_decide.go", "if p.state[at] != due {\n\t\t\tp.held.keep", "if p.state[at] == live {\n\t\t\tp.held.keep"},
		{"run_apply.go", "case held.has(at):", "case false:"},
		{"run_check.go", "if goes(to) {", "if false {"},
	},
	"an old look is used again": {
		{"run_apply.go", "age > lookFor/5 || age < 0", "age > 1<<62"},
		{"run_apply.go", "return age >= 0 && age < lookFor", "return age < 1<<62"},
		{"run_apply.go", "l, err := r.Janitor.look(ctx, partial)\n\tif err != nil {\n\t\treturn err\n\t}\n\tr.look = l", "_ = partial"},
	},
	"no look between two steps": {
		{"run_delete.go", "func (r *run) deleteRest(ctx context.Context) error {\n\tif err := r.again(ctx, false); err != nil {\n\t\treturn err\n\t}", "func (r *run) deleteRest(ctx context.Context) error {"},
		{"run_apply.go", "return age >= 0 && age < lookFor", "return age < 1<<62"},
	},
	"the lease is not looked at": {
		{"lease/lease.go", "func (l *Lease) Hold(ctx context.Context) error {", "func (l *Lease) Hold(ctx context.Context) error {\n\tif true {\n\t\treturn nil\n\t}"},
		{"lease/lease.go", "max(time.Second, l.remaining()-margins/2)", "1000*time.Hour"}, // nor ends it a write
	},
	"ETag and size without time": {
		{"plan_decide.go", " || written.After(since.StoreTime().Add(-clock.MaxJump))", ""},
		{"plan_live.go", "\tmarkYoung(m, keepGrace, policy.Grace, p.seen(), nil)\n", ""},
	},
	"the store's clock alone": {
		{"clock/clock.go", "passed := m.Ours.Sub(then.Ours)", "passed := time.Duration(1 << 62)"}, // a plan does not know the store's
		{"clock/clock.go", "return apart > MaxJump || apart < -MaxJump", "return false && apart > 0"},
	},
	"our clock alone": {
		{"clock/clock.go", "passed = min(passed, m.Store.Sub(then.Store))", "passed = min(passed, passed)"},
		{"clock/clock.go", "return apart > MaxJump || apart < -MaxJump", "return false && apart > 0"},
	},
	"roots are read once": {
		{"run_apply.go", "\tr.look = l\n\ttombs", "\tl.roots, l.sets = r.look.roots, r.look.sets\n\tr.look = l\n\ttombs"},
	},
	"waves out of order": {
		{"run_delete.go", "\treturn waves\n}", "\tslices.Reverse(waves)\n\treturn waves\n}"},
	},
	"the room of another mirror": {
		{"room/file.go", "case r.Head.Mirror != mirror:", "case false:"},
	},
	"an ended set keeps": {
		{"rootset/sets.go", "return now.Before(s.Ends())", "return true"},
	},
	"a set in force does not keep": {
		{"rootset/sets.go", "return now.Before(s.Ends())", "return false"},
	},
}

// applied is the text of the edit's file in a copy of the module, edited.
func (e edit) applied(t *testing.T, module string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module, "janitor", e.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), e.old); n != 1 {
		t.Fatalf("%s has %d times %q: bring the mutation up to date", e.file, n, e.old)
	}
	return []byte(strings.Replace(string(text), e.old, e.new, 1))
}

// TestMutationsFitTheCode has whoever moves code move its mutations as well.
func TestMutationsFitTheCode(t *testing.T) {
	for name, edits := range mutations {
		t.Run(name, func(t *testing.T) {
			for _, e := range edits {
				e.applied(t, "../../..")
			}
		})
	}
}

// TestEachMutationIsCaught takes an hour, and is for whoever changes the janitor's decisions or
// this package: SPACKTAINERS_TEST_SIZE=long go test -timeout 3h -run Mutation
// ./internal/testing/torture
func TestEachMutationIsCaught(t *testing.T) {
	size.Need(t, size.Long)
	for name, edits := range mutations {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyModule(t, dir)
			for _, e := range edits {
				if err := os.WriteFile(filepath.Join(dir, "janitor", e.file), e.applied(t, dir), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-timeout=30m", "-run=^TestHistories$", "./internal/testing/torture", "-histories=500", "-shrinks=0", "-stop")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			caught := regexp.MustCompile(`seed \d+: \d+ promises broken, first [^p].*`).FindString(string(out))
			if err == nil || caught == "" {
				t.Fatalf("no history broke a promise:\n%.2000s", out)
			}
			t.Logf("caught: %.200s", caught)
		})
	}
}

// copyModule copies what the histories need of the module.
func copyModule(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"buildcache", "janitor", "internal"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("../../..", name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join("../../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
