package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// list collects what a plan yields.
func list[T any](all iter.Seq[T]) []T { return slices.Collect(all) }

func going(p *janitor.Plan) string {
	var names []string
	for g := range p.Specs() {
		names = append(names, g.Name+"@"+g.Version+" "+g.Reason)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// A shelf holds versions of one package and another that is a root.
func shelf(t *testing.T, versions ...string) (*world, rootset.Roots) {
	w := newWorld(t, 11, 3)
	root := w.add(0)
	root.External, root.Name = nil, "root"
	w.push(root, old)
	for i, v := range versions {
		n := w.add(0)
		n.External, n.Name, n.Version = nil, "tool", v
		w.push(n, now.Add(-time.Duration(10*(i+1))*day))
	}
	w.updateIndex(old)
	return w, rootset.Roots{Locks: []rootset.Lock{w.lock("env", root)}}
}

func TestRules(t *testing.T) {
	w, roots := shelf(t, "1.9", "1.10", "1.10-rc1", "develop", "2.0")
	pinned := roots
	pinned.Pins = []rootset.Pin{"tool@1.9", "nothing"}
	byHash := roots
	byHash.Pins = []rootset.Pin{rootset.Pin(w.nodes[1].Hash), rootset.Pin("/" + w.nodes[2].Hash[:5]), rootset.Pin(w.nodes[3].Hash[:8])}
	for name, tt := range map[string]struct {
		roots  rootset.Roots
		policy janitor.Policy
		want   string
	}{
		"what no root needs":      {roots, janitor.Policy{}, "tool@1.10 unneeded, tool@1.10-rc1 unneeded, tool@1.9 unneeded, tool@2.0 unneeded, tool@develop unneeded"},
		"and is old":              {roots, janitor.Policy{MaxAge: 25 * day}, "tool@1.10-rc1 unneeded, tool@2.0 unneeded, tool@develop unneeded"},
		"grace":                   {roots, janitor.Policy{Grace: 45 * day}, "tool@2.0 unneeded"},
		"the newest":              {roots, janitor.Policy{KeepLast: 1}, "tool@1.10 unneeded, tool@1.10-rc1 unneeded, tool@1.9 unneeded, tool@2.0 unneeded"},
		"the newest three":        {roots, janitor.Policy{KeepLast: 3}, "tool@1.10-rc1 unneeded, tool@1.9 unneeded"},
		"pins":                    {pinned, janitor.Policy{}, "tool@1.10 unneeded, tool@1.10-rc1 unneeded, tool@2.0 unneeded, tool@develop unneeded"},
		"pins by hash":            {byHash, janitor.Policy{}, "tool@2.0 unneeded, tool@develop unneeded"},
		"stale":                   {roots, janitor.Policy{MaxAge: 300 * day, KeepLast: 1, Packages: janitor.Packages{"root": true}}, "tool@1.10 stale, tool@1.10-rc1 stale, tool@1.9 stale, tool@2.0 stale, tool@develop stale"},
		"stale but within grace":  {roots, janitor.Policy{Grace: 45 * day, Packages: janitor.Packages{"root": true}}, "tool@2.0 stale"},
		"a root is never stale":   {roots, janitor.Policy{MaxAge: 300 * day, Packages: janitor.Packages{"tool": true}}, ""},
		"no roots":                {rootset.Roots{}, janitor.Policy{NoRoots: true, MaxAge: 45 * day}, "root@" + w.nodes[0].Version + " too old, tool@2.0 too old"},
		"no roots but the newest": {rootset.Roots{}, janitor.Policy{NoRoots: true, MaxAge: 35 * day, KeepLast: 1}, "tool@2.0 too old"},
	} {
		tt.policy.MaxFraction = 1
		p := plan(t, w.m, tt.roots, tt.policy)
		if got := going(p); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestTooMuchAtOnceIsNotCondemned(t *testing.T) {
	for fraction, ok := range map[float64]bool{0: false, 0.5: false, 0.74: false, 0.9: true} {
		w, roots := shelf(t, "1", "2", "3")
		before := w.m.contents()
		p := plan(t, w.m, roots, janitor.Policy{MaxFraction: fraction})
		if (p.Brake == "") != ok || len(list(p.Specs())) != 3 {
			t.Errorf("%v: got %v", fraction, p.Brake)
		}
		r, err := of(p, w.m).Apply(t.Context(), p)
		if !ok && (!errors.Is(err, janitor.ErrRefused) || r.Condemned != 0 || !maps.Equal(before, w.m.contents())) {
			t.Errorf("%v: got %+v, %v", fraction, r, err)
		}
	}
}

func TestWhyNamesTheChain(t *testing.T) {
	m := loaded(t, "v3-signed")
	waits := bold
	waits.Wait = 6 * day
	p := plan(t, m, locks(t, "v3-signed", "env-a"), waits)
	answers, err := p.Why("qs-net")
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, a := range answers {
		text = append(text, a.String())
	}
	got := strings.Join(text, "\n")
	for _, want := range []string{"stays: lock env-a → qs-server@2.0/", " → qs-net@1.3/", "would be condemned: unneeded; the next prune says so in the mirror, and it goes from 2026-03-07 on"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if _, err := p.Why("nobody"); !errors.Is(err, janitor.ErrNothingFor) {
		t.Errorf("got %v", err)
	}
}

func TestPurge(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w, app, lib, tool := buildOnly(t, layout)
		for _, n := range w.nodes {
			w.push(n, now)
		}
		w.updateIndex(now)
		var roots rootset.Roots
		purge := func(u janitor.Purge) (*janitor.Plan, error) {
			j := clean(w.m)
			j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
			p, err := j.PlanPurge(t.Context(), u)
			made.Store(p, j)
			return p, err
		}
		if _, err := purge(janitor.Purge{Pin: "lib"}); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "app@") {
			t.Errorf("with a dependent: %v", err)
		}
		roots = rootset.Roots{Locks: []rootset.Lock{w.lock("env", app)}}
		if _, err := purge(janitor.Purge{Pin: "lib", Dependents: true}); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "lock env needs") {
			t.Errorf("what a root needs: %v", err)
		}
		roots = rootset.Roots{Pins: []rootset.Pin{"app"}}
		if _, err := purge(janitor.Purge{Pin: "lib", Dependents: true}); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "pin app needs") {
			t.Errorf("what a pin needs: %v", err)
		}
		roots = rootset.Roots{Unknown: []string{"the images of app cannot be read"}}
		if _, err := purge(janitor.Purge{Pin: "lib", Dependents: true}); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "images of app") {
			t.Errorf("where it is not known what roots need: %v", err)
		}
		p, err := purge(janitor.Purge{Pin: "lib", Dependents: true, EvenIfNeeded: true})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "purged")
		if got := v.installable; got[app.Hash] || got[lib.Hash] || !got[tool.Hash] {
			t.Errorf("layout %d: got %v", layout, got)
		}
		roots = rootset.Roots{}
		if _, err := purge(janitor.Purge{Pin: "lib"}); !errors.Is(err, janitor.ErrNothingFor) {
			t.Errorf("gone already: %v", err)
		}
		p, err = purge(janitor.Purge{Pin: "oo", Substring: true})
		if err != nil || len(list(p.Specs())) != 1 {
			t.Errorf("by a part: %v, %v", list(p.Specs()), err)
		}
	}
}

// A migrated cache has both layouts, with the same hashes.
func TestBothLayoutsInOneMirror(t *testing.T) {
	w, app, lib, tool := buildOnly(t, 2)
	other := w.add(0)
	other.External = nil
	for w.layout = 2; w.layout <= 3; w.layout++ {
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
	}
	policy := bold
	policy.DropBuild = true
	p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", app)}}, policy)
	if got, want := len(list(p.Deletions())), 2*(2+3); got != want { // two specs
		t.Errorf("%d objects go, want %d: %v", got, want, list(p.Deletions()))
	}
	apply(t, w.m, p)
	v := view(t, w.m.contents())
	v.noHoles(t, "pruned")
	for key, hashes := range v.indexed {
		if fmt.Sprint(sorted(hashes)) != fmt.Sprint(sorted(map[string]bool{app.Hash: true, lib.Hash: true})) {
			t.Errorf("%s: got %v", key, hashes)
		}
	}
	if len(v.indexed) != 2 || v.installable[tool.Hash] || v.installable[other.Hash] {
		t.Errorf("got %v", v.installable)
	}
}

// A view is an index of its own, of some of the specs.
func TestViewsAreIndexesToo(t *testing.T) {
	m := loaded(t, "v3-unsigned")
	view1 := "v3/manifests/index/mine/index.manifest.json"
	m.set(view1, m.data("v3/manifests/index/index.manifest.json"), old)
	roots := locks(t, "v3-unsigned", "env-a")
	apply(t, m, plan(t, m, roots, bold))
	v := view(t, m.contents())
	v.noHoles(t, "with a view")
	if len(v.indexed) != 2 || len(v.indexed[view1]) != len(lockClosure(t, false, lockPath("v3-unsigned", "env-a"))) {
		t.Errorf("the view has %d specs", len(v.indexed[view1]))
	}
	m = loaded(t, "v3-unsigned")
	m.set(view1, m.data("v3/manifests/index/index.manifest.json"), old)
	hidden := 0
	m.hide = func(key string) bool { // shown once, hidden once: a server that is restarted
		if key == view1 {
			hidden++
		}
		return key == view1 && hidden%2 == 0
	}
	if _, err := scan.New(t.Context(), m, scan.Options{}); !errors.Is(err, scan.ErrIncomplete) {
		t.Errorf("a view that was listed once only: %v", err)
	}
}

func TestLayoutsFromTheFutureStopTheRun(t *testing.T) {
	m := loaded(t, "v3-unsigned")
	m.set("v4/manifests/spec/x.json", []byte("{}"), old)
	if _, err := scan.New(t.Context(), m, scan.Options{}); err == nil || !strings.Contains(err.Error(), "v4/") {
		t.Errorf("got %v", err)
	}
}
