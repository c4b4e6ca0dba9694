package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A stage is a small cache through time: both clocks are its own.
type stage struct {
	*world
	t     *testing.T
	roots rootset.Roots

	mu sync.Mutex
	at time.Time
}

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *stage) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(d)
}

func newStage(t *testing.T, layout int) *stage {
	s := &stage{world: newWorld(t, 9, layout), t: t, at: now}
	s.m.clock = s.now
	return s
}

// named adds a spec that links to others.
func (s *stage) named(name string, needs ...*node) *node {
	n := s.add(0)
	n.Name, n.External = name, nil
	for _, to := range needs {
		d := dep{Name: to.Name, Hash: to.Hash}
		d.Parameters.Deptypes, d.Parameters.Virtuals = []string{"link"}, []string{}
		n.Dependencies = append(n.Dependencies, d)
	}
	return n
}

func (s *stage) janitor() janitor.Janitor {
	return janitor.Janitor{
		Store: s.m, Mirror: "mirror", Owner: "test", Policy: janitor.Policy{Grace: 2 * day, Wait: 6 * day, MaxFraction: 1},
		Roots: func(context.Context) (rootset.Roots, error) { return s.roots, nil },
		Now:   s.now,
		Sleep: func(ctx context.Context, d time.Duration) error { s.pass(d); return ctx.Err() },
	}
}

func (s *stage) prune() janitor.Result {
	s.t.Helper()
	r, err := s.janitor().Prune(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// condemned makes a cache with a root, and with D that nothing needs and that
// has waited.
func condemnedStage(t *testing.T, layout int) (s *stage, root, d *node) {
	s = newStage(t, layout)
	root, d = s.named("root"), s.named("d")
	s.push(root, old)
	s.push(d, old)
	s.updateIndex(old)
	s.roots.Locks = []rootset.Lock{s.lock("env", root)}
	if r := s.prune(); r.Condemned != 1 || r.Objects != 0 {
		t.Fatalf("the first run: %+v", r)
	}
	s.pass(7 * day)
	return s, root, d
}

func both(t *testing.T, scene func(t *testing.T, layout int)) {
	for layout := 2; layout <= 3; layout++ {
		t.Run(fmt.Sprint("v", layout), func(t *testing.T) { scene(t, layout) })
	}
}

func (s *stage) installs(n *node) bool {
	return view(s.t, s.m.contents()).installable[n.Hash]
}

func (s *stage) indexed(n *node) bool {
	for _, hashes := range view(s.t, s.m.contents()).indexed {
		if !hashes[n.Hash] {
			return false
		}
	}
	return true
}

func TestWhatHasWaitedIsDeleted(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		before := s.now()
		if r := s.prune(); r.Specs != 1 || s.installs(d) || !s.installs(root) || s.indexed(d) || !s.indexed(root) {
			t.Errorf("got %+v", r)
		}
		if s.now().Sub(before) < 10*time.Minute {
			t.Error("clients still had the index of before")
		}
		for range 3 { // the old index of v3, too
			s.pass(7 * day)
			s.prune()
		}
		if v := view(t, s.m.contents()); len(v.loose) > 0 {
			t.Errorf("garbage: %v", v.loose)
		}
	})
}

// The index of after the run has the bytes of an earlier one, whose blob is due.
func TestTheIndexThatComesBackIsNotDeleted(t *testing.T) {
	s := newStage(t, 3)
	root, d := s.named("root"), s.named("d")
	s.push(root, old)
	s.updateIndex(old)
	s.push(d, old)
	s.updateIndex(old.Add(time.Hour))
	s.roots.Locks = []rootset.Lock{s.lock("env", root)}
	for range 4 {
		s.prune()
		view(t, s.m.contents()).noHoles(t, "after a run")
		s.pass(7 * day)
	}
	if s.installs(d) || !s.indexed(root) {
		t.Error("d is there, or root is in no index")
	}
}

// A push that ends while a listing takes long is in none of its pages.
func TestAPushThatASlowListingHides(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		x := s.named("x", d)
		s.m.cut = func(prefix string) error {
			if prefix == "build_cache/" || prefix == "v" {
				s.m.cut = nil
				s.push(x, s.now())
			}
			return nil
		}
		s.prune()
		if !s.installs(d) || !s.installs(x) || !s.indexed(d) {
			t.Error("d went, though x needs it")
		}
	})
}

// The roots of now count with a plan of before.
func TestAPlanKnowsTheRootsOfNow(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		j := s.janitor()
		p, err := j.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := p.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		r, err := janitor.ReadPlan(&text)
		if err != nil {
			t.Fatal(err)
		}
		s.roots.Locks = []rootset.Lock{s.lock("env", root), s.lock("more", d)}
		if p, err = j.PlanReviewed(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Apply(t.Context(), p); err != nil || !s.installs(d) {
			t.Errorf("what the other lockfile needs went: %v", err)
		}
		s.pass(25 * time.Hour)
		if _, err := j.PlanReviewed(t.Context(), r); !errors.Is(err, janitor.ErrRefused) {
			t.Errorf("a plan of yesterday: %v", err)
		}
		s.pass(-30 * time.Hour)
		if _, err := j.PlanReviewed(t.Context(), r); !errors.Is(err, janitor.ErrRefused) {
			t.Errorf("a plan of a time to come: %v", err)
		}
		j.Mirror = "another"
		s.pass(5 * time.Hour)
		if _, err := j.PlanReviewed(t.Context(), r); !errors.Is(err, janitor.ErrRefused) {
			t.Errorf("a plan for another mirror: %v", err)
		}
	})
}

// Roots that change between two looks of one run count.
func TestRootsAreReadForEachLook(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		s.m.before = func(what, key string) error {
			if strings.Contains(key, "index") { // d is about to leave it
				s.roots.Locks = []rootset.Lock{s.lock("env", root), s.lock("more", d)}
			}
			return nil
		}
		s.prune()
		if !s.installs(d) || !s.indexed(d) {
			t.Error("d went, or is in no index")
		}
	})
}

// The clock of another process is a day ahead: its lease blocks for its own
// length, and no longer.
func TestALeaseFromAClockThatIsAhead(t *testing.T) {
	s, _, _ := condemnedStage(t, 3)
	s.m.set(janitor.Prefix+"lease", []byte(`{"owner":"ahead","nonce":"x","run":"y","expires":"2030-01-01T00:00:00Z"}`), s.now())
	if _, err := s.janitor().Prune(t.Context()); !errors.Is(err, lease.ErrTaken) {
		t.Errorf("got %v", err)
	}
	s.pass(11 * time.Minute)
	s.prune()
}

// A lease that cannot be read is another janitor's, too, as long as it could last.
func TestALeaseThatCannotBeRead(t *testing.T) {
	s, _, _ := condemnedStage(t, 3)
	s.m.set(janitor.Prefix+"lease", []byte("{"), s.now())
	if r, err := s.janitor().Prune(t.Context()); !errors.Is(err, lease.ErrTaken) || !strings.Contains(err.Error(), ": unknown, run unknown, until ") {
		t.Errorf("got %+v, %v", r, err)
	}
	s.pass(11 * time.Minute)
	s.prune()
}

// Spack before 0.18 describes packages in .spec.yaml.
func TestMetadataThatIsNotKnownKeepsItsPackage(t *testing.T) {
	s := newStage(t, 2)
	root, d := s.named("root"), s.named("d")
	s.push(root, old)
	s.push(d, old)
	s.updateIndex(old)
	all := s.uploads(d)
	s.m.remove(all[1].key)
	yaml := strings.TrimSuffix(all[1].key, ".json") + ".yaml"
	s.m.set(yaml, []byte("spec:\n- d: {}\n"), old)
	s.roots.Locks = []rootset.Lock{s.lock("env", root)}
	for range 4 {
		p, err := s.janitor().Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(p.Notes, "\n"), yaml) {
			t.Errorf("it is not said: %v", p.Notes)
		}
		s.prune()
		s.pass(10 * day)
	}
	if s.m.data(all[0].key) == nil || s.m.data(yaml) == nil || !s.indexed(d) {
		t.Error("a package of an old Spack went")
	}
	scan, err := scan.New(t.Context(), s.m, scan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f := janitor.Verify(scan); len(f.Orphans) > 0 || !slices.Contains(f.Unknown, yaml) {
		t.Errorf("verify calls %v orphans and %v unknown", f.Orphans, f.Unknown)
	}
}

// keptVersions is a store that keeps versions, of which nobody may delete any.
type keptVersions struct {
	*memory
	t *testing.T
}

func (keptVersions) Versioning(context.Context) (bool, error) { return true, nil }
func (k keptVersions) DeleteVersions(context.Context, []buildcache.Version) error {
	k.t.Error("versions were deleted")
	return nil
}

func TestNoRunTouchesVersionsOrOldJournals(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		journal := janitor.Prefix + "runs/20260101T000000.000Z/plan.json"
		s.m.set(journal, []byte("{}"), old)
		j := s.janitor()
		j.Store = keptVersions{s.m, t}
		if _, err := j.Prune(t.Context()); err != nil || s.installs(d) {
			t.Errorf("got %v", err)
		}
		if s.m.data(journal) == nil {
			t.Error("an old journal went")
		}
	})
}

// A lockfile that is there for a day, from while a run works on: what it needs is live, and waits anew.
func TestWhatIsSavedWhileARunWorksWaitsAnew(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		without, with := s.roots.Locks, []rootset.Lock{s.lock("env", root, d)}
		j := s.janitor()
		j.Sleep = func(ctx context.Context, d time.Duration) error {
			s.pass(d)
			s.roots.Locks = with
			return ctx.Err()
		}
		if r, err := j.Prune(t.Context()); err != nil || len(r.Stayed) != 1 || !s.indexed(d) {
			t.Fatalf("got %+v, %v", r, err)
		}
		s.roots.Locks = without
		for range 2 {
			s.pass(day)
			if s.prune(); !s.installs(d) || !s.indexed(d) {
				t.Fatal("it has not waited")
			}
		}
		s.pass(6 * day)
		if s.prune(); s.installs(d) || s.indexed(d) {
			t.Error("it stays though it has waited")
		}
	})
}

// What waits does not wait anew for a purge of something else, unless a root needs it by then.
func TestAPurgeLeavesTheRoomAsItIs(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, d, saved, purged := s.named("root"), s.named("d"), s.named("saved"), s.named("purged")
		for _, n := range []*node{root, d, saved, purged} {
			s.push(n, old)
		}
		s.updateIndex(old)
		lone := "blobs/sha256/aa/" + strings.Repeat("a", 64)
		s.m.set(lone, []byte("lone"), old)
		without, with := []rootset.Lock{s.lock("env", root)}, []rootset.Lock{s.lock("env", root, saved)}
		s.roots.Locks = without
		s.prune()
		s.pass(7 * day)
		s.roots.Locks = with
		p, err := s.janitor().PlanPurge(t.Context(), janitor.Purge{Pin: "purged"})
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]string{}
		for c := range p.Specs() {
			states[c.Name] = c.State
		}
		if want := map[string]string{"purged": "due", "saved": "back"}; !maps.Equal(states, want) {
			t.Errorf("the plan says %v, want %v", states, want)
		}
		if r, err := s.janitor().Apply(t.Context(), p); err != nil || r.Specs != 1 || r.Back != 1 || s.installs(purged) {
			t.Fatalf("got %+v, %v", r, err)
		}
		s.roots.Locks = without
		if r := s.prune(); r.Specs != 1 || s.installs(d) || !s.installs(saved) || s.m.data(lone) != nil {
			t.Errorf("got %+v", r)
		}
	})
}
