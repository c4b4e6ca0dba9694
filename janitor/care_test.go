package janitor_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor"
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
		p := plan(t, w.m, janitor.Roots{Locks: []janitor.Lock{w.lock("env", app)}}, bold)
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
	apply(t, w.m, plan(t, w.m, janitor.Roots{Locks: []janitor.Lock{w.lock("env", app)}}, bold))
	if w.m.data(all[0].key) == nil {
		t.Error("the tarball is gone")
	}
}

func TestPlansThatWereTamperedWith(t *testing.T) {
	m := loaded(t, "v2-unsigned")
	m.set("build_cache/notes", []byte("mine"), old)
	roots := locks(t, "v2-unsigned", "env-a")
	s := scan(t, m)
	for _, key := range []string{"build_cache/index.json", "build_cache/notes"} {
		o, ok := s.Object(key)
		if !ok {
			t.Fatalf("%s was not listed", key)
		}
		p := reviewed(t, plan(t, m, roots, bold))
		p.Delete = append(p.Delete, janitor.Deletion{Key: key, Size: o.Size, ETag: o.ETag, ModTime: o.ModTime, Kind: janitor.Blob})
		c := m.clone()
		q, err := p.For(scan(t, c))
		if err != nil {
			t.Fatal(err)
		}
		apply(t, c, q)
		if c.data(key) == nil {
			t.Errorf("%s is gone", key)
		}
	}
	p := reviewed(t, plan(t, m, roots, bold))
	i := slices.IndexFunc(p.Keep, func(k janitor.Kept) bool { return len(k.Chain) > 1 })
	k := p.Keep[i]
	p.Keep = slices.Delete(p.Keep, i, i+1)
	p.Going = append(p.Going, janitor.Going{Hash: k.Hash, Name: k.Name, Reason: "unneeded"})
	c := m.clone()
	q, err := p.For(scan(t, c))
	if err != nil {
		t.Fatal(err)
	}
	r := apply(t, c, q)
	if v := view(t, c.contents()); !v.installable[string(k.Hash)] || len(q.Notes) == 0 {
		t.Errorf("%s went, though others need it: %v", k.Name, r.Stayed)
	}
}

// reviewed writes a plan down and reads it again.
func reviewed(t *testing.T, p janitor.Plan) *janitor.Reviewed {
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

func TestClockThatIsAheadIsRefused(t *testing.T) {
	m := loaded(t, "v3-unsigned")
	p := plan(t, m, locks(t, "v3-unsigned", "env-a"), bold)
	before := m.contents()
	j := clean(m)
	j.Now = func() time.Time { return now.Add(30 * time.Hour) }
	if _, err := j.Apply(t.Context(), p); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "clock") {
		t.Errorf("got %v", err)
	}
	if len(before) != len(m.contents()) {
		t.Error("something was changed")
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
		p := plan(t, w.m, janitor.Roots{Locks: []janitor.Lock{w.lock("env", root)}}, bold)
		if len(list(p.Going())) != 3 {
			t.Fatalf("%v go, want 3", list(p.Going()))
		}
		w.push(app, now) // the same bytes, and so the same ETags
		r := apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "applied late")
		if len(v.installable) != 4 || !v.installable[lib.Hash] || !v.installable[tool.Hash] || len(r.Stayed) != 3 {
			t.Errorf("layout %d: %v, %v", layout, v.installable, r.Stayed)
		}
	}
}
