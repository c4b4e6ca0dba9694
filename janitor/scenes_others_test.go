package janitor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// What follows are scenes in which somebody else is at work.

// A process that was stopped does not go on when another one had the lease.
func TestAJanitorThatWasStoppedDoesNotGoOn(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		stopped := 0
		s.m.before = func(what, key string) error {
			if what == "put" && strings.HasSuffix(key, "/room") && stopped == 0 {
				stopped++
				s.pass(time.Hour)
				other := s.janitor()
				other.Store = s.m.plain()
				roots := rootset.Roots{Locks: []rootset.Lock{s.lock("env", root), s.lock("more", d)}}
				other.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
				if _, err := other.Prune(t.Context()); err != nil {
					t.Errorf("the other one: %v", err)
				}
			}
			return nil
		}
		if _, err := s.janitor().Prune(t.Context()); err == nil || stopped != 1 {
			t.Error("it went on")
		}
		if !s.installs(d) || !s.indexed(d) {
			t.Error("d went, though the other one has kept it")
		}
	})
}

// Nor does one that was stopped between its last look and the first batch.
func TestAJanitorThatWasStoppedBeforeABatchDoesNotGoOn(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		stopped := 0
		s.m.reading = func(key string) error {
			if strings.Contains(key, "index") && !s.indexed(d) && stopped == 0 {
				stopped++
				s.pass(11 * time.Minute)
				other := s.janitor()
				other.Store = s.m.plain()
				roots := rootset.Roots{Locks: []rootset.Lock{s.lock("env", root), s.lock("more", d)}}
				other.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
				if _, err := other.Prune(t.Context()); err != nil {
					t.Errorf("the other one: %v", err)
				}
			}
			return nil
		}
		if _, err := s.janitor().Prune(t.Context()); err == nil || stopped != 1 {
			t.Errorf("it went on: %v, stopped %d", err, stopped)
		}
		if !s.installs(d) {
			t.Error("d went, though the other one has kept it")
		}
	})
}

// D is pushed again while it goes: after its manifest, before its blobs.
func TestAPushAgainWhileBlobsGo(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		again := false
		s.m.reading = func(key string) error { // the first request after the spec files went
			if !again && !s.present(d) && strings.Contains(key, "index") {
				again = true
				s.push(d, s.now())
			}
			return nil
		}
		_, err := s.janitor().Prune(t.Context())
		if errors.Is(err, janitor.ErrUnproved) && strings.Contains(err.Error(), d.Hash) {
			return // the push came between the look and the deletion: it is said
		}
		if err != nil || !again || !s.installs(d) || !s.indexed(d) {
			t.Errorf("pushed again %v: it has lost its blobs or its entry: %v", again, err)
		}
	})
}

// A dependent comes between the deletion of the spec file and the end: it is said.
func TestWhatComesTooLateIsSaid(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		x := s.named("x", d)
		s.m.reading = func(key string) error {
			if !s.present(d) {
				s.m.reading = nil
				s.push(x, s.now())
			}
			return nil
		}
		_, err := s.janitor().Prune(t.Context())
		if !errors.Is(err, janitor.ErrUnproved) || !strings.Contains(err.Error(), "x@") || !strings.Contains(err.Error(), "d@") {
			t.Errorf("got %v", err)
		}
	})
}

// A dependent's push ends behind the last look: the next run says so. Where its
// spec blob is there before that, this one does.
func TestAPushThatEndsBehindTheLastLookIsSaid(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		x := s.named("x", d)
		all := s.uploads(x)
		s.m.before = func(what, key string) error {
			switch {
			case what == "delete" && strings.Contains(key, d.Hash):
				for _, u := range all[:len(all)-1] {
					s.m.set(u.key, u.data, s.now())
				}
			case strings.HasSuffix(key, "/room") && !s.present(d):
				s.m.set(all[len(all)-1].key, all[len(all)-1].data, s.now())
			}
			return nil
		}
		j := s.janitor()
		_, err := j.Prune(t.Context())
		if said := errors.Is(err, janitor.ErrUnproved) && strings.Contains(err.Error(), "x@") && strings.Contains(err.Error(), "d@"); said != (layout == 3) {
			t.Errorf("got %v", err)
		}
		p, err := j.Plan(t.Context())
		if err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "has deleted: push it again") {
			t.Errorf("the next plan says %v, %v", p.Notes, err)
		}
	})
}

// Another process writes the index while it is written anew.
func TestReindexOverwritesNoUpdate(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		a, b := s.named("a"), s.named("b")
		s.push(a, old)
		s.updateIndex(old)
		raced := false
		s.m.before = func(what, key string) error {
			if what == "put" && !raced && strings.Contains(key, "index") {
				raced = true
				s.push(b, s.now())
				s.updateIndex(s.now())
			}
			return nil
		}
		if _, err := s.janitor().Reindex(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if !raced || !s.indexed(a) || !s.indexed(b) {
			t.Error("an update of the index was lost")
		}
	})
}

// A forced push deletes a root's spec file and puts it again: the entry that
// was dangling for a moment comes back.
func TestAForcedPushOfARootKeepsItsEntry(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, other, _ := condemnedStage(t, layout)
		root := s.named("top")
		s.push(root, old)
		s.updateIndex(old)
		s.roots.Locks = []rootset.Lock{s.lock("env", root, other)}
		all := s.uploads(root)
		last := all[len(all)-1]
		s.m.remove(last.key)
		s.m.before = func(what, key string) error {
			if what == "delete" && !strings.Contains(key, ".spacktainers") {
				s.m.set(last.key, last.data, s.now())
			}
			return nil
		}
		if _, err := s.janitor().Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.m.before = nil
		s.m.set(last.key, last.data, s.now())
		s.prune()
		if !s.installs(root) || !s.indexed(root) {
			t.Error("the root has lost its entry")
		}
	})
}

// A run is killed behind the swap of the index; then a lockfile needs what it
// was about to delete.
func TestAKillBehindTheSwapAndMoreRoots(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, root, d := condemnedStage(t, layout)
		ctx, kill := context.WithCancel(t.Context())
		j := s.janitor()
		j.Sleep = func(context.Context, time.Duration) error { kill(); return ctx.Err() }
		if _, err := j.Prune(ctx); err == nil || s.indexed(d) {
			t.Fatalf("it was not killed behind the swap: %v", err)
		}
		s.pass(time.Hour)
		s.roots.Locks = []rootset.Lock{s.lock("env", root), s.lock("more", d)}
		s.prune()
		if !s.installs(d) || !s.indexed(d) {
			t.Error("d is in no index")
		}
	})
}

// Deleting lone objects takes long, and what is due is needed by then: it does
// not leave the index, not even for a while.
func TestALookThatIsOldIsRepeatedBeforeAnIndexChanges(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s := newStage(t, layout)
		root, d := s.named("root"), s.named("d")
		s.push(root, old)
		s.push(d, old)
		s.updateIndex(old)
		lone := s.uploads(s.named("lone"))[0]
		s.m.set(lone.key, lone.data, old)
		s.roots.Locks = []rootset.Lock{s.lock("env", root)}
		s.prune()
		s.pass(7 * day)
		x := s.named("x", d)
		s.m.before = func(what, key string) error {
			switch {
			case what == "delete" && key == lone.key:
				s.pass(6 * time.Minute)
				s.push(x, s.now())
			case !s.indexed(d):
				t.Errorf("d is in no index at %s %s", what, key)
			}
			return nil
		}
		s.prune()
		if s.m.data(lone.key) != nil || !s.installs(d) || !s.indexed(d) {
			t.Errorf("the lone object is there %v, d is there %v", s.m.data(lone.key) != nil, s.installs(d))
		}
	})
}

// Another run has written the room between the plan's look and our lease: the look is not used.
func TestTheRoomOfAPlanThatAnotherRunHasChanged(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		p, err := s.janitor().Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		other := s.janitor()
		other.Settle = -1
		if r, err := other.Prune(t.Context()); err != nil || r.Specs != 1 {
			t.Fatalf("the other one: %+v, %v", r, err)
		}
		s.push(d, s.now()) // again, after the plan
		if r, err := s.janitor().Apply(t.Context(), p); err != nil || r.Specs != 0 || !s.installs(d) {
			t.Errorf("got %+v, %v", r, err)
		}
	})
}
