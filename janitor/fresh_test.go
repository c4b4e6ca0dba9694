package janitor_test

import (
	"context"
	"errors"
	"github.com/google/go-cmp/cmp"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// slow makes each listing take its time, and counts those of a whole layout.
func slow(m *memory, long time.Duration) (lists func() int) {
	n := 0
	m.cut = func(prefix string) error {
		if prefix == "build_cache/" || prefix == "blobs/" {
			time.Sleep(long)
			n++
		}
		return nil
	}
	return func() int { m.hooking.Lock(); defer m.hooking.Unlock(); return n }
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
		roots := rootset.Roots{Locks: []rootset.Lock{w.lock("env", other)}}
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
	size.Need(t, size.All) // some seconds
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 1, layout)
		base, other := w.add(0), w.add(0)
		base.External, other.External = nil, nil
		for _, n := range w.nodes {
			w.push(n, old)
		}
		w.updateIndex(old)
		roots := rootset.Roots{Locks: []rootset.Lock{w.lock("env", other)}}
		slow(w.m, time.Second)
		p := plan(t, w.m, roots, bold)
		raced := 0
		w.m.before = func(_, key string) error {
			if strings.HasSuffix(key, "/room") && raced == 0 { // which says that the index is about to be replaced
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
		roots := rootset.Roots{Locks: []rootset.Lock{w.lock("env", stays)}}
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
	p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", stays)}}, bold)
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
		roots := rootset.Roots{Locks: []rootset.Lock{w.lock("env", keep)}}
		listed := 0
		w.m.cut = func(prefix string) error {
			if !strings.HasPrefix(prefix, "v3/manifests/index/") && !strings.HasPrefix(prefix, ".spack") {
				listed++
			}
			return nil
		}
		inventoried := func(policy janitor.Policy) (*janitor.Plan, error) {
			j := clean(w.m)
			j.Policy, j.Scan.Inventory = policy, taken
			j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
			p, err := j.Plan(t.Context())
			made.Store(p, j)
			return p, err
		}
		p, err := inventoried(policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := going(p); listed > 0 || strings.Count(got, "unneeded") != 1 || !strings.Contains(got, lone.Name+"@"+lone.Version) {
			t.Errorf("layout %d: listed %d times, goes: %s", layout, listed, got)
		}
		short := policy
		short.Grace = 12 * time.Hour
		if _, err := inventoried(short); !errors.Is(err, janitor.ErrRefused) {
			t.Errorf("layout %d: an inventory older than the grace period: %v", layout, err)
		}
		yesterday := taken
		taken = inventory{w.m.clone(), now.Add(100 * day)}
		if _, err := inventoried(policy); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "yet to come") {
			t.Errorf("layout %d: an inventory of a time to come: %v", layout, err)
		}
		taken = yesterday

		if p.Due.Objects != 0 {
			t.Errorf("layout %d: an inventory deletes: %+v", layout, p.Due)
		}
		before := w.m.contents()
		if r := apply(t, w.m, p); r.Condemned != 1 || r.Objects != 0 || listed > 0 {
			t.Errorf("layout %d: got %+v, listed %d times", layout, r, listed)
		}
		if diff := cmp.Diff(before, w.m.contents()); diff != "" {
			t.Errorf("layout %d: an inventory changed the cache", layout)
		}

		partial := inventory{taken.m.clone(), now.Add(-day)}
		all := w.uploads(keep)
		partial.m.remove(all[len(all)-1].key)
		if _, err := scan.New(t.Context(), w.m, scan.Options{Inventory: partial}); !errors.Is(err, scan.ErrIncomplete) || !strings.Contains(err.Error(), "not in the inventory") {
			t.Errorf("layout %d: an inventory that lacks what is old: %v", layout, err)
		}
		filtered := inventory{newMemory(nil), now.Add(-day)}
		if _, err := scan.New(t.Context(), w.m, scan.Options{Inventory: filtered}); !errors.Is(err, buildcache.ErrNoCache) || !strings.Contains(err.Error(), "check its filter") {
			t.Errorf("layout %d: an inventory of another part: %v", layout, err)
		}
	}
}

// An inventory that names one key again and again ends, and the youngest row counts.
func TestInventoryThatNamesAKeyOften(t *testing.T) {
	w := newWorld(t, 1, 3)
	keep := w.add(0)
	keep.External, keep.Dependencies = nil, nil
	w.push(keep, old)
	w.updateIndex(old)
	lone := "blobs/sha256/aa/" + strings.Repeat("aa", 32)
	often := manyRows{inventory{w.m.clone(), now.Add(-day)}, buildcache.Object{Key: lone, Size: 1, ETag: "e", ModTime: old}, 60_000}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s, err := scan.New(t.Context(), w.m, scan.Options{Inventory: often})
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := s.Object(lone); !ok || !o.ModTime.Equal(old.Add(59_999*time.Second)) {
		t.Errorf("got %+v", o)
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > 1000 {
		t.Errorf("%d allocations for rows of one key", n)
	}
}

// manyRows is an inventory that begins with rows for one object.
type manyRows struct {
	inventory
	object buildcache.Object
	times  int
}

func (r manyRows) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		for i := range r.times {
			o := r.object
			o.ModTime = o.ModTime.Add(time.Duration(i) * time.Second)
			if !yield(o, nil) {
				return
			}
		}
		r.inventory.List(ctx, prefix)(yield)
	}
}
