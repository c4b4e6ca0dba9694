package janitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// Two repositories prune one bucket on alternate nights for a year: each gets a
// new release now and then, and drops old ones.
func TestTwoRepositoriesShareAMirrorForAYear(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		shared := s.named("shared")
		type repository struct {
			name string
			live []*node
		}
		repositories := []*repository{{name: "one"}, {name: "two"}}
		dropped := map[*node]time.Time{}
		deleted := 0
		for night := range size.Pick(120, 365, 365) {
			r := repositories[night%2]
			if night%14 < 2 {
				n := s.named(r.name+fmt.Sprint(night), shared)
				s.push(n, s.now())
				if night < 2 {
					s.push(shared, s.now())
				}
				s.updateIndex(s.now())
				r.live = append(r.live, n)
				if len(r.live) > 2 {
					dropped[r.live[0]] = s.now()
					r.live = r.live[1:]
				}
			}
			j := s.janitor()
			j.Repository, j.Policy.MaxFraction = r.name, 0.5
			j.Roots = func(context.Context) (rootset.Roots, error) {
				return rootset.Roots{Locks: []rootset.Lock{s.lock(r.name, r.live...)}}, nil
			}
			if night < 2 && len(r.live) == 0 {
				continue
			}
			res, err := j.Prune(t.Context())
			if err != nil {
				t.Fatalf("night %d, %s: %v", night, r.name, err)
			}
			deleted += res.Specs
			v := view(t, s.m.contents())
			v.noHoles(t, fmt.Sprint("night ", night))
			for _, o := range repositories {
				for _, n := range append(o.live, shared) {
					if !v.installable[n.Hash] {
						t.Fatalf("night %d: %s is gone", night, n.Name)
					}
				}
			}
			for n, at := range dropped {
				if v.installable[n.Hash] && s.now().Sub(at) > 3*6*day {
					t.Fatalf("night %d: %s was dropped %s ago and is there", night, n.Name, s.now().Sub(at))
				}
			}
			s.pass(day)
		}
		if deleted == 0 {
			t.Error("no garbage was freed")
		}
	})
}

// A repository that has not said since what it needs holds what is condemned.
func TestARepositoryThatWasNotHeardOfHolds(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, d := s.named("root"), s.named("d")
		s.push(root, old)
		s.push(d, old)
		s.updateIndex(old)
		s.roots.Locks = []rootset.Lock{s.lock("env", root)}
		other := s.janitor()
		other.Repository = "other"
		if _, err := other.PublishRoots(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Hour)
		s.prune()
		s.pass(8 * day)
		if s.prune(); !s.installs(d) {
			t.Fatal("d went, though the other repository may need it")
		}
		p, err := s.janitor().Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for c := range p.Specs() {
			if c.State != "held" || !strings.Contains(c.HeldBy, "repositories/other") {
				t.Errorf("got %+v", c)
			}
		}
		if _, err := other.PublishRoots(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.prune(); s.installs(d) {
			t.Error("d is there, though nobody needs it")
		}
	})
}

func TestRootSetsKeepUntilTheyEnd(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, lib := s.named("root"), s.named("lib")
		app := s.named("app", lib)
		for _, n := range s.nodes {
			s.push(n, old)
		}
		s.updateIndex(old)
		s.roots.Locks = []rootset.Lock{s.lock("env", root)}
		s.prune()
		if _, err := s.janitor().Spare(t.Context(), []rootset.Pin{"app"}); err != nil {
			t.Fatal(err)
		}
		for range 8 { // 80 days
			s.pass(10 * day)
			if s.prune(); !s.installs(app) || !s.installs(lib) {
				t.Fatalf("what was spared went after %s", s.now().Sub(now))
			}
		}
		for range 3 { // the set ends, and what it kept waits
			s.pass(11 * day)
			s.prune()
		}
		if s.installs(app) || s.installs(lib) {
			t.Error("what was spared is never freed")
		}
		if set, err := s.janitor().Announce(t.Context(), "a build", []buildcache.Hash{buildcache.Hash(root.Hash)}); err != nil || set.For != 48*time.Hour {
			t.Errorf("got %+v, %v", set, err)
		}
	})
}

// What has ended stays a while, so that a person can see it.
func TestRootSetsAreRemovedWhenTheyHaveEndedLongAgo(t *testing.T) {
	s, root, _ := condemnedStage(t, 3)
	other := s.janitor()
	other.Repository = "other"
	if _, err := other.PublishRoots(t.Context()); err != nil {
		t.Fatal(err)
	}
	build, err := other.Announce(t.Context(), "a build", []buildcache.Hash{buildcache.Hash(root.Hash)})
	if err != nil {
		t.Fatal(err)
	}
	s.m.set(rootset.Prefix+"repositories/unreadable", []byte("{"), s.now())
	there := func(name string) bool { return s.m.data(rootset.Prefix+name) != nil }
	began := s.now()
	for _, step := range []struct {
		days             int
		build, ofTheRepo bool
	}{{31, true, true}, {33, false, true}, {119, false, true}, {121, false, false}} {
		s.pass(time.Duration(step.days)*day - s.now().Sub(began))
		p, err := s.janitor().Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(p.Notes, " "); strings.Contains(notes, "builds/") || strings.Contains(notes, "other") != (step.days > 67) {
			t.Errorf("after %d days: %q", step.days, notes)
		}
		s.prune()
		if there(build.Name) != step.build || there("repositories/other") != step.ofTheRepo || !there("repositories/unreadable") {
			t.Errorf("after %d days: the build's set is there %v, the repository's %v", step.days, there(build.Name), there("repositories/other"))
		}
	}
}

// One that is refreshed while a run is about to remove it stays.
func TestARootSetThatIsRefreshedIsNotRemoved(t *testing.T) {
	s, _, _ := condemnedStage(t, 3)
	other := s.janitor()
	other.Repository, other.Store = "other", s.m.plain()
	publish := func() {
		if _, err := other.PublishRoots(t.Context()); err != nil {
			t.Error(err)
		}
	}
	publish()
	s.pass(121 * day)
	s.m.before = func(what, key string) error {
		if strings.HasSuffix(key, "/room") {
			s.m.before = nil
			publish()
		}
		return nil
	}
	s.prune()
	if s.m.data(rootset.Prefix+"repositories/other") == nil {
		t.Error("a set was removed that somebody had just refreshed")
	}
}

func TestRootSetsThatCannotBeReadStopDeleting(t *testing.T) {
	for name, tt := range map[string]struct {
		key, text string
		deletes   bool
	}{
		"a repository's": {"repositories/x", "{", false},
		"a build's":      {"builds/x", `{"format":9}`, false},
		"an old build's": {"builds/old", "{", true},
	} {
		s, _, d := condemnedStage(t, 3)
		at := s.now()
		if tt.deletes {
			at = at.Add(-3 * day)
		}
		s.m.set(rootset.Prefix+tt.key, []byte(tt.text), at)
		r := s.prune()
		if s.installs(d) == tt.deletes || (r.Specs == 1) != tt.deletes {
			t.Errorf("%s: got %+v", name, r)
		}
	}
	s, _, d := condemnedStage(t, 3)
	s.m.set(rootset.Prefix+"repositories/big", bytes.Repeat([]byte(" "), 17<<20), s.now())
	if s.prune(); !s.installs(d) {
		t.Error("a set that is too big did not count")
	}
}

// What is condemned does not go before what needs it.
func TestWhatIsHeldGoesWithWhatNeedsIt(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, lib := s.named("root"), s.named("lib")
		app := s.named("app", lib)
		s.push(root, old)
		s.push(lib, old)
		s.updateIndex(old)
		s.roots.Locks = []rootset.Lock{s.lock("env", root)}
		s.prune()
		s.pass(3 * day)
		s.push(app, s.now().Add(-3*day)) // with its time kept, as rsync does
		s.prune()
		s.pass(4 * day)
		s.prune()
		if !s.installs(lib) || !s.installs(app) {
			t.Fatal("lib went before app")
		}
		s.pass(7 * day)
		s.prune()
		if s.installs(lib) || s.installs(app) {
			t.Error("they are there for ever")
		}
	})
}

// Written again with the same bytes: the wait begins anew.
func TestWhatIsWrittenAgainWaitsAnew(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		s.push(d, s.now().Add(-4*day)) // within the wait, and older than grace
		if s.prune(); !s.installs(d) {
			t.Error("it was written since, and went")
		}
	})
}

// A root set that was published before the first run is no sign that a room was lost.
func TestAPublishedRootSetIsNoEarlierRun(t *testing.T) {
	s := newStage(t, 3)
	root := s.named("root")
	s.push(root, old)
	s.updateIndex(old)
	s.roots.Locks = []rootset.Lock{s.lock("env", root)}
	j := s.janitor()
	j.Repository = "ours"
	if _, err := j.PublishRoots(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := j.Plan(t.Context())
	want := "there is no record of an earlier run, though the root set repositories/ours is of "
	if err != nil || len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], want) || !strings.Contains(p.Notes[0], "starts to wait now") {
		t.Errorf("got %q, %v", p.Notes, err)
	}
	j.Policy.Wait = 0
	if p, err = j.Plan(t.Context()); err != nil || len(p.Notes) != 1 || strings.Contains(p.Notes[0], "wait") {
		t.Errorf("nothing waits, and it says %q, %v", p.Notes, err)
	}
}

// One clock says that a week has passed: that is not enough.
func TestBothClocksMustSayThatItHasWaited(t *testing.T) {
	for _, ours := range []bool{true, false} {
		s := newStage(t, 3)
		root, d := s.named("root"), s.named("d")
		s.push(root, old)
		s.push(d, old)
		s.updateIndex(old)
		s.roots.Locks = []rootset.Lock{s.lock("env", root)}
		s.prune()
		jump := s.now().Add(7 * day)
		for i := range 3 { // the first run notices the jump, the others count
			j := s.janitor()
			if ours {
				j.Now = func() time.Time { return jump }
			} else {
				s.m.clock = func() time.Time { return jump }
			}
			if _, err := j.Prune(t.Context()); errors.Is(err, janitor.ErrRefused) != (i == 0) || i > 0 && err != nil {
				t.Errorf("ours %v: run %d: got %v", ours, i, err)
			}
		}
		if !s.installs(d) {
			t.Errorf("ours %v: one clock was set, and d went", ours)
		}
	}
}

// Both clocks are set, by different amounts, so that both say that it has waited: what passed before
// is not known, and the wait begins at the run that noticed.
func TestWhatWaitedBeforeAClockWasSetDoesNotCount(t *testing.T) {
	s := newStage(t, 3)
	root, d := s.named("root"), s.named("d")
	s.push(root, old)
	s.push(d, old)
	s.updateIndex(old)
	s.roots.Locks = []rootset.Lock{s.lock("env", root)}
	s.prune()
	start := s.now()
	at := func(passed time.Duration) janitor.Janitor {
		j := s.janitor()
		j.Now = func() time.Time { return start.Add(passed + 3*day) }
		s.m.clock = func() time.Time { return start.Add(passed + 7*day) }
		return j
	}
	if _, err := at(3 * day).Prune(t.Context()); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "clock") {
		t.Errorf("got %v, want that a clock was set", err)
	}
	p, err := at(5 * day).Plan(t.Context()) // it only reads, and does not know the store's clock
	if err != nil {
		t.Fatal(err)
	}
	if c := list(p.Specs())[0]; c.State != "waiting" || !c.Due.Equal(start.Add(12*day)) {
		t.Errorf("a plan says that it is %s until %s", c.State, c.Due)
	}
	if _, err := at(5 * day).Prune(t.Context()); err != nil || !s.installs(d) {
		t.Errorf("it has waited for five days, and went, or: %v", err)
	}
	if _, err := at(9*day + time.Hour).Prune(t.Context()); err != nil || s.installs(d) {
		t.Errorf("it stays though it has waited since the clocks were set, or: %v", err)
	}
}

// A room that is lost, damaged or of another mirror: all waits anew, and it is
// said.
func TestARoomThatCountsForNothing(t *testing.T) {
	room := janitor.Prefix + "room"
	for name, spoil := range map[string]func(*stage, *janitor.Janitor){
		"lost":             func(s *stage, _ *janitor.Janitor) { s.m.remove(room) },
		"damaged":          func(s *stage, _ *janitor.Janitor) { s.m.set(room, s.m.data(room)[:40], s.now()) },
		"another mirror's": func(_ *stage, j *janitor.Janitor) { j.Mirror = "another" },
	} {
		s, _, d := condemnedStage(t, 3)
		j := s.janitor()
		spoil(s, &j)
		p, err := j.Plan(t.Context())
		if err != nil || len(p.Notes) == 0 {
			t.Errorf("%s: it is not said: %v, %v", name, p.Notes, err)
		}
		if _, err := j.Apply(t.Context(), p); err != nil || !s.installs(d) {
			t.Errorf("%s: d went at once: %v", name, err)
		}
		s.pass(7 * day)
		if _, err := j.Prune(t.Context()); err != nil || s.installs(d) {
			t.Errorf("%s: d never goes: %v", name, err)
		}
	}
}

// The brake counts what is in the room, and lets through once.
func TestTheBrakeIsAskedOnce(t *testing.T) {
	s := newStage(t, 3)
	root := s.named("root")
	s.push(root, old)
	for i := range 3 {
		s.push(s.named(fmt.Sprint("d", i)), old)
	}
	s.updateIndex(old)
	s.roots.Locks = []rootset.Lock{s.lock("env", root)}
	run := func(raise float64) (janitor.Result, error) {
		j := s.janitor()
		j.Policy.MaxFraction, j.Policy.Raise = 0.5, raise
		return j.Prune(t.Context())
	}
	if r, err := run(0); !errors.Is(err, janitor.ErrRefused) || r.Condemned != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := run(0.9); err != nil || r.Condemned != 3 {
		t.Errorf("raised: %+v, %v", r, err)
	}
	s.pass(day)
	s.push(s.named("more"), old)
	if r, err := run(0); err != nil || r.Condemned != 1 {
		t.Errorf("what was let through was asked for again: %+v, %v", r, err)
	}
	s.pass(7 * day)
	if r, err := run(0); err != nil || r.Specs != 4 {
		t.Errorf("it is never freed: %+v, %v", r, err)
	}
}
