package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// An index entry of which there is nothing is put right, and said.
func TestDanglingEntriesAreMended(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w, app, lib, tool := buildOnly(t, layout)
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		for _, u := range w.uploads(lib) {
			w.m.remove(u.key)
		}
		p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", app)}}, bold)
		if len(list(p.Deletions())) != 0 || len(p.Mend) != 1 || len(p.Damage) != 1 || p.Damage[0].Spec == "" {
			t.Fatalf("layout %d: got %+v", layout, p)
		}
		apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "mended")
		for key, hashes := range v.indexed {
			if !hashes[app.Hash] || !hashes[tool.Hash] || len(hashes) != 2 {
				t.Errorf("%s: got %v", key, hashes)
			}
		}
	}
}

// The tarball of what a root needs stays, even without its spec file.
func TestTarballOfARootStaysWithoutItsSpecFile(t *testing.T) {
	w, app, lib, _ := buildOnly(t, 2)
	for _, n := range w.nodes {
		w.push(n, old)
	}
	w.updateIndex(old)
	all := w.uploads(lib)
	w.m.remove(all[1].key)
	apply(t, w.m, plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", app)}}, bold))
	if w.m.data(all[0].key) == nil {
		t.Error("the tarball is gone")
	}
}

// A plan that was written down makes nothing go that a new one would keep.
func TestPlansThatWereTamperedWith(t *testing.T) {
	m := loaded(t, "v2-unsigned")
	m.set("build_cache/notes", []byte("mine"), old)
	roots := locks(t, "v2-unsigned", "env-a")
	for _, key := range []string{"build_cache/index.json", "build_cache/notes"} {
		p := plan(t, m, roots, bold)
		r := reviewed(t, p)
		r.Orphans = append(r.Orphans, janitor.Condemned{State: "due", Key: key})
		c := m.clone()
		q, err := of(p, c).PlanReviewed(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := of(p, c).Apply(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if c.data(key) == nil {
			t.Errorf("%s is gone", key)
		}
	}
	p := plan(t, m, roots, bold)
	r := reviewed(t, p)
	for k := range p.Kept() {
		r.Specs = append(r.Specs, janitor.Condemned{State: "due", Hash: k.Hash, Name: k.Name, Reason: "unneeded"})
	}
	c := m.clone()
	q, err := of(p, c).PlanReviewed(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := of(p, c).Apply(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	v := view(t, c.contents())
	for k := range p.Kept() {
		if !v.installable[string(k.Hash)] {
			t.Errorf("%s went, though it is live", k.Name)
		}
	}
}

// What a purge has planned waits for nothing, and goes though it may be needed: no prune does that.
func TestAPlanOfAPurgeIsForNoPrune(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		p, err := s.janitor().PlanPurge(t.Context(), janitor.Purge{Pin: "d"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.janitor().PlanReviewed(t.Context(), reviewed(t, p))
		if !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "it is of a purge") {
			t.Errorf("got %v", err)
		}
		s.roots.Locks = append(s.roots.Locks, s.lock("needs d", d))
		p, err = s.janitor().PlanPurge(t.Context(), janitor.Purge{Pin: "d"})
		if !errors.Is(err, janitor.ErrRefused) {
			t.Fatalf("got %v", err)
		}
		if _, err = s.janitor().PlanReviewed(t.Context(), reviewed(t, p)); strings.Count(fmt.Sprint(err), "refused: ") != 1 {
			t.Errorf("got %v", err)
		}
	})
}

// reviewed writes a plan down and reads it again.
func reviewed(t *testing.T, p *janitor.Plan) *janitor.Reviewed {
	t.Helper()
	var text bytes.Buffer
	if err := p.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	r, err := janitor.ReadPlan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A clock here that is days ahead of the store's makes nothing old.
func TestClockThatIsAheadMakesNothingOld(t *testing.T) {
	w, app, _, _ := buildOnly(t, 3)
	other := w.add(0)
	other.External = nil
	for _, n := range w.nodes {
		w.push(n, now.Add(-time.Hour))
	}
	w.updateIndex(old)
	before := w.m.contents()
	j := clean(w.m)
	j.Policy = bold
	j.Now = func() time.Time { return now.Add(10 * day) }
	j.Roots = func(context.Context) (rootset.Roots, error) {
		return rootset.Roots{Locks: []rootset.Lock{w.lock("env", app)}}, nil
	}
	r, err := j.Prune(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, w.m.contents()); diff != "" || r.Condemned != 0 {
		t.Errorf("something was changed: %+v\n%s", r, diff)
	}
}

// A plan that was reviewed is applied days later.
func TestWhatChangedSinceThePlanStays(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w, app, lib, tool := buildOnly(t, layout)
		root := w.add(0)
		root.External = nil
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", root)}}, bold)
		if len(list(p.Specs())) != 3 {
			t.Fatalf("%v go, want 3", list(p.Specs()))
		}
		w.push(app, now) // the same bytes, and so the same ETags
		r := apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "applied late")
		if len(v.installable) != 4 || !v.installable[lib.Hash] || !v.installable[tool.Hash] || r.Specs != 0 {
			t.Errorf("layout %d: %v, %v", layout, v.installable, r.Stayed)
		}
	}
}
