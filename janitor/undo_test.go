package janitor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/janitor"
)

func TestUndoBringsEveryByteBack(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		before := m.contents()
		j := clean(m)
		j.KeepFor = 14 * day
		r, err := j.Apply(t.Context(), plan(t, m, locks(t, name, "env-a"), bold))
		if err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(before, m.contents()) {
			t.Fatal("nothing went")
		}
		undone, err := j.Undo(t.Context(), r.Run)
		if err != nil {
			t.Fatal(err)
		}
		if undone.Objects != r.Objects || undone.Specs != r.Specs {
			t.Errorf("%s: took back %+v of %+v", name, undone, r)
		}
		after := m.contents()
		for key, data := range before {
			if after[key] != data {
				t.Errorf("%s: %s is not what it was", name, key)
			}
		}
		view(t, after).noHoles(t, name)
		if len(after) > len(before)+1 { // the index that the run wrote is an orphan now
			t.Errorf("%s: %d objects, there were %d", name, len(after), len(before))
		}
	}
}

// Somebody has pushed and indexed between the run and its undoing.
func TestUndoKeepsWhatCameSince(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w, app, lib, tool := buildOnly(t, layout)
		root := w.add(0)
		root.External = nil
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		j := clean(w.m)
		j.KeepFor = 14 * day
		r, err := j.Apply(t.Context(), plan(t, w.m, janitor.Roots{Locks: []janitor.Lock{w.lock("env", root)}}, bold))
		if err != nil {
			t.Fatal(err)
		}
		fresh := w.add(0)
		fresh.External = nil
		w.push(fresh, now)
		w.push(lib, now)
		w.updateIndex(now)
		if _, err := j.Undo(t.Context(), r.Run); err != nil {
			t.Fatal(err)
		}
		v := view(t, w.m.contents())
		v.noHoles(t, "undone")
		for key, hashes := range v.indexed {
			for _, n := range []*node{app, lib, tool, root, fresh} {
				if !hashes[n.Hash] || !v.installable[n.Hash] {
					t.Errorf("%s lacks %s", key, n.Name)
				}
			}
		}
		if _, err := j.Undo(t.Context(), r.Run); err != nil {
			t.Errorf("undone twice: %v", err)
		}
	}
}

func TestUndoSaysWhatItCannot(t *testing.T) {
	m := loaded(t, "v3-unsigned")
	r := apply(t, m, plan(t, m, locks(t, "v3-unsigned", "env-a"), bold))
	if _, err := clean(m).Undo(t.Context(), r.Run); !errors.Is(err, janitor.ErrRefused) {
		t.Errorf("without a trash: %v", err)
	}
	if _, err := clean(m).Undo(t.Context(), "yesterday"); !errors.Is(err, janitor.ErrNothingFor) {
		t.Errorf("an unknown run: %v", err)
	}
}

func TestTrashIsCollectedWhenItsTimeHasPassed(t *testing.T) {
	m := loaded(t, "v2-unsigned")
	j := clean(m)
	j.KeepFor = 14 * day
	r, err := j.Apply(t.Context(), plan(t, m, locks(t, "v2-unsigned", "env-a"), bold))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := j.GCTrash(t.Context()); err != nil || got.Objects != 0 {
		t.Errorf("at once: %+v, %v", got, err)
	}
	j.Now = func() time.Time { return now.Add(15 * day) }
	if got, err := j.GCTrash(t.Context()); err != nil || got.Objects != r.Objects+1 { // and the index
		t.Errorf("after its time: %+v, %v, want %d", got, err, r.Objects+1)
	}
	if _, err := j.Undo(t.Context(), r.Run); !errors.Is(err, janitor.ErrRefused) {
		t.Errorf("undone without trash: %v", err)
	}
}
