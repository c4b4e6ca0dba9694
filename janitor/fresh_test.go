package janitor_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// slow makes each listing take its time, and counts those of a whole layout.
func slow(m *memory, long time.Duration) (lists func() int) {
	var mu sync.Mutex
	n := 0
	m.cut = func(prefix string) error {
		if prefix == "build_cache/" || prefix == "blobs/" {
			time.Sleep(long)
			mu.Lock()
			defer mu.Unlock()
			n++
		}
		return nil
	}
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// A listing that took long is as good as a new one for some time.
func TestBigCacheIsListedOnce(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		want := m.clone()
		roots := locks(t, name, "env-b")
		lists := slow(m, 2*time.Second) // so that even a busy machine does the rest in four times that
		p := plan(t, m, roots, bold)
		r := apply(t, m, p)
		if n := lists(); n != 1 {
			t.Errorf("%s: listed %d times, want once", name, n)
		}
		if again := apply(t, want, plan(t, want, roots, bold)); again.Objects != r.Objects || again.Specs != r.Specs {
			t.Errorf("%s: got %+v, with more listings %+v", name, r, again)
		}
		without := func(all map[string]string) map[string]string {
			maps.DeleteFunc(all, func(key, _ string) bool { return ours(key) })
			return all
		}
		if got, want := without(m.contents()), without(want.contents()); !maps.Equal(got, want) {
			t.Errorf("%s: it matters how often it is listed", name)
		}
		m.cut = nil
		if p := plan(t, m, roots, bold); !p.Empty() {
			t.Errorf("%s: a second run would delete %v", name, list(p.Deletions()))
		}
	}
}

// Whoever writes an index meanwhile is noticed all the same.
func TestBigCacheIsListedAgainIfAnIndexChanged(t *testing.T) {
	for _, layout := range []int{2, 3} {
		w := newWorld(t, 1, layout)
		base, other := w.add(0), w.add(0)
		base.External, other.External = nil, nil
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		roots := janitor.Roots{Locks: []janitor.Lock{w.lock("env", other)}}
		lists := slow(w.m, 300*time.Millisecond)
		p := plan(t, w.m, roots, bold)
		w.pushDependent(base)
		r := apply(t, w.m, p)
		if n := lists(); n < 2 {
			t.Errorf("layout %d: listed %d times", layout, n)
		}
		if !w.present(base) || len(r.Stayed) != 1 {
			t.Errorf("layout %d: what the new spec needs went: %v", layout, r.Stayed)
		}
	}
}

// Also whoever writes one after we have looked, and before we replace it.
func TestBigCacheIsListedAgainIfAnIndexChangedJustNow(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 1, layout)
		base, other := w.add(0), w.add(0)
		base.External, other.External = nil, nil
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		roots := janitor.Roots{Locks: []janitor.Lock{w.lock("env", other)}}
		slow(w.m, time.Second)
		p := plan(t, w.m, roots, bold)
		raced := 0
		w.m.before = func(_, key string) error {
			if strings.HasSuffix(key, "/step-0001.json") { // which says that the index is about to be replaced
				raced++
				w.pushDependent(base)
			}
			return nil
		}
		r := apply(t, w.m, p)
		if raced != 1 || !w.present(base) || len(r.Stayed) != 1 {
			t.Errorf("layout %d: what the new spec needs went: %v", layout, r.Stayed)
		}
		if !strings.Contains(indexOf(t, w.m), base.Hash) {
			t.Errorf("layout %d: it is in no index", layout)
		}
	}
}

// A run that changes an index has its text from the scan, if it is told to keep
// it, unless somebody else was faster.
func TestIndexIsReadOnceIfItsTextIsKept(t *testing.T) {
	for _, raced := range []bool{false, true} {
		w := newWorld(t, 1, 3)
		stays, goes, fresh := w.add(0), w.add(0), w.add(0)
		for _, n := range []*node{stays, goes, fresh} {
			n.External = nil
		}
		w.push(stays, old)
		w.push(goes, old)
		w.updateIndex(old)
		roots := janitor.Roots{Locks: []janitor.Lock{w.lock("env", stays)}}
		text := "blobs/sha256/" + blobsOf(t, string(w.m.data("v3/manifests/index/index.manifest.json")))[0]
		text = strings.Replace(text, "sha256/", "sha256/"+text[len("blobs/sha256/"):][:2]+"/", 1)
		reads := 0
		w.m.reading = func(key string) error {
			if key == text {
				reads++
			}
			return nil
		}
		slow(w.m, time.Second)
		s, err := janitor.NewScan(t.Context(), w.m, janitor.ScanOptions{Locks: roots.Locks, KeepTexts: true})
		if err != nil {
			t.Fatal(err)
		}
		p, err := janitor.NewPlan(s, roots, bold, now)
		if err != nil {
			t.Fatal(err)
		}
		if raced {
			w.push(fresh, now)
			w.updateIndex(now)
		}
		apply(t, w.m, p)
		if reads != 1 {
			t.Errorf("raced %v: the index was read %d times", raced, reads)
		}
		if got := indexOf(t, w.m); !strings.Contains(got, stays.Hash) || strings.Contains(got, goes.Hash) || strings.Contains(got, fresh.Hash) != raced {
			t.Errorf("raced %v: the index is %s", raced, got)
		}
	}
}

// Somebody indexes, between our plan and our index, what was in no index, and
// needs it. Its entry must come back from theirs.
func TestEntriesComeBackFromTheIndexThatWasReplaced(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 1, layout)
		stays, goes, base := w.add(0), w.add(0), w.add(0)
		for _, n := range w.nodes {
			n.External = nil
		}
		w.push(stays, old)
		w.push(goes, old)
		w.updateIndex(old)
		w.push(base, old)
		roots := janitor.Roots{Locks: []janitor.Lock{w.lock("env", stays)}}
		slow(w.m, 300*time.Millisecond)
		p := plan(t, w.m, roots, bold)
		top := w.pushDependent(base)
		apply(t, w.m, p)
		v := view(t, w.m.contents())
		v.noHoles(t, "replaced meanwhile")
		for key, indexed := range v.indexed {
			if !indexed[base.Hash] || !indexed[top.Hash] || !indexed[stays.Hash] || indexed[goes.Hash] {
				t.Errorf("%s has %v, want base, top and what stays", key, indexed)
			}
		}
	}
}

// A run that could not write the index leaves its text to the next one.
func TestTextOfAnIndexOutlivesARunThatFailed(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 1, layout)
		stays, goes := w.add(0), w.add(0)
		stays.External, goes.External = nil, nil
		w.push(stays, old)
		w.push(goes, old)
		w.updateIndex(old)
		roots := janitor.Roots{Locks: []janitor.Lock{w.lock("env", stays)}}
		known := janitor.OpenKnown("")
		again := func() (janitor.Result, error) {
			s, err := janitor.NewScan(t.Context(), w.m, janitor.ScanOptions{Known: known, Locks: roots.Locks, KeepTexts: true})
			if err != nil {
				t.Fatal(err)
			}
			p, err := janitor.NewPlan(s, roots, bold, now)
			if err != nil {
				t.Fatal(err)
			}
			return clean(w.m).Apply(t.Context(), p)
		}
		w.m.before = func(_, key string) error {
			if strings.Contains(key, "index") {
				return errors.New("not now")
			}
			return nil
		}
		if _, err := again(); err == nil || !strings.Contains(err.Error(), "not now") {
			t.Fatalf("got %v", err)
		}
		w.m.before = nil
		if r, err := again(); err != nil || r.Specs != 1 {
			t.Errorf("layout %d: got %+v, %v", layout, r, err)
		}
	}
}

// The checksum of an index that was wrong may have been mended by somebody.
func TestChecksumOfAnIndexIsMendedForTheIndexThatIsThere(t *testing.T) {
	w := newWorld(t, 1, 2)
	stays, more := w.add(0), w.add(0)
	stays.External, more.External = nil, nil
	w.push(stays, old)
	w.updateIndex(old)
	w.m.set("build_cache/index.json.hash", []byte("wrong"), old)
	lone := w.uploads(w.add(0))[0] // a tarball by itself
	w.m.set(lone.key, lone.data, old)
	slow(w.m, 300*time.Millisecond)
	p := plan(t, w.m, janitor.Roots{Locks: []janitor.Lock{w.lock("env", stays)}}, bold)
	w.push(more, now)
	w.updateIndex(now)
	apply(t, w.m, p)
	if view(t, w.m.contents()).stale {
		t.Error("the checksum is not that of the index")
	}
}

// inventory is a listing of another day.
type inventory struct {
	m  *memory
	at time.Time
}

func (i inventory) At() time.Time { return i.at }

func (i inventory) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		var all []buildcache.Object
		for o, err := range i.m.List(ctx, prefix) {
			if err != nil {
				yield(o, err)
				return
			}
			all = append(all, o)
		}
		for _, o := range slices.Backward(all) { // inventories have no order
			if !yield(o, nil) {
				return
			}
		}
	}
}

func TestInventoryInsteadOfAListing(t *testing.T) {
	policy := janitor.Policy{MaxFraction: 1, Grace: 2 * day}
	for _, layout := range []int{2, 3} {
		w := newWorld(t, 1, layout)
		base, lone, keep, top := w.add(0), w.add(0), w.add(0), w.add(0)
		for _, n := range w.nodes {
			n.External, n.Dependencies = nil, nil
		}
		for _, n := range []*node{base, lone, keep} {
			w.push(n, old)
		}
		w.updateIndex(old)
		taken := inventory{w.m.clone(), now.Add(-day)}
		top.Dependencies = []dep{{Name: base.Name, Hash: base.Hash}}
		top.Dependencies[0].Parameters.Deptypes = []string{"link"}
		w.push(top, now.Add(-time.Hour))
		w.updateIndex(now.Add(-time.Hour))
		roots := janitor.Roots{Locks: []janitor.Lock{w.lock("env", keep)}}
		listed := 0
		w.m.cut = func(prefix string) error {
			if !strings.HasPrefix(prefix, "v3/manifests/index/") {
				listed++
			}
			return nil
		}
		s, err := janitor.NewScan(t.Context(), w.m, janitor.ScanOptions{Inventory: taken, Locks: roots.Locks})
		if err != nil {
			t.Fatal(err)
		}
		p, err := janitor.NewPlan(s, roots, policy, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := going(p); listed > 0 || strings.Count(got, "unneeded") != 1 || !strings.Contains(got, lone.Name+"@"+lone.Version) {
			t.Errorf("layout %d: listed %d times, goes: %s", layout, listed, got)
		}
		short := policy
		short.Grace = 12 * time.Hour
		if _, err := janitor.NewPlan(s, roots, short, now); !errors.Is(err, janitor.ErrRefused) {
			t.Errorf("layout %d: an inventory older than the grace period: %v", layout, err)
		}

		// Steps for somebody else: the index first, then these.
		before := w.m.contents()
		var steps [][]string
		j := clean(w.m)
		j.HandOver = func(step int, keys []string) error {
			if step != len(steps)+1 {
				t.Errorf("step %d after %d", step, len(steps))
			}
			steps = append(steps, keys)
			return nil
		}
		r, err := j.Apply(t.Context(), p)
		if err != nil || listed > 0 {
			t.Fatalf("layout %d: %v, listed %d times", layout, err, listed)
		}
		var want []string
		for d := range p.Deletions() {
			want = append(want, d.Key)
		}
		if got := slices.Sorted(slices.Values(slices.Concat(steps...))); len(steps) != 2 || !slices.Equal(got, want) || r.Objects != 0 {
			t.Errorf("layout %d: steps %v, want %v: %+v", layout, steps, want, r)
		}
		for _, key := range steps[0] {
			if !strings.Contains(key, ".spec.") {
				t.Errorf("%s is in the first step", key)
			}
		}
		for key := range before {
			if w.m.data(key) == nil {
				t.Errorf("layout %d: %s was deleted", layout, key)
			}
		}
		if strings.Contains(indexOf(t, w.m), lone.Hash) || !strings.Contains(indexOf(t, w.m), top.Hash) {
			t.Errorf("layout %d: the index is wrong", layout)
		}

		partial := inventory{taken.m.clone(), now.Add(-day)}
		all := w.uploads(keep)
		partial.m.remove(all[len(all)-1].key)
		if _, err := janitor.NewScan(t.Context(), w.m, janitor.ScanOptions{Inventory: partial}); !errors.Is(err, janitor.ErrIncomplete) {
			t.Errorf("layout %d: an inventory that lacks what is old: %v", layout, err)
		}
	}
}
