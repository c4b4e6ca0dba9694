package janitor_test

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// seconds is what a spec takes to build, by its hash.
func seconds(hash string) float64 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(hash))
	return 1 + float64(sum.Sum32()%1000)
}

// pricing is a janitor that knows what all specs take to build.
func (s *scene) pricing(policy janitor.Policy) janitor.Janitor {
	j := clean(s.m)
	j.Policy, j.Policy.EvenIfWritten = policy, true
	j.Roots = func(context.Context) (rootset.Roots, error) { return rootset.Roots{Locks: s.locks}, nil }
	j.Price = func(_ context.Context, all []*janitor.Priced) error {
		for _, p := range all {
			p.Seconds, p.Estimated = seconds(string(p.Spec.Hash)), p.Digest == ""
		}
		return nil
	}
	return j
}

// condemnedBy are the specs that a plan condemns, with their sizes.
func condemnedBy(p *janitor.Plan) map[string]int64 {
	all := map[string]int64{}
	for c := range p.Specs() {
		if c.State != "back" {
			all[string(c.Hash)] = c.Bytes
		}
	}
	return all
}

// What a target size keeps is kept with all that it needs, no more is condemned than without one, and
// no exchange of one spec for another would free as much and lose less.
func TestATargetSizeKeepsWhatIsDear(t *testing.T) {
	tried := 0
	for seed := range uint64(3 * seeds(t)) {
		s := newScene(t, seed)
		policy := janitor.Policy{MaxFraction: 1, DropBuild: seed%3 == 0} // so that much may go
		without, err := s.pricing(policy).Plan(t.Context())
		if err != nil {
			continue // a lockfile of which nothing was pushed
		}
		policy.TargetSize = without.After.Bytes + s.rand.Int64N(1+without.Room.Bytes)
		p, err := s.pricing(policy).Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		may, goes := condemnedBy(without), condemnedBy(p)
		if p.After.Bytes > policy.TargetSize {
			t.Errorf("seed %d: %d bytes are left, the target is %d", seed, p.After.Bytes, policy.TargetSize)
		}
		for h := range goes {
			if _, ok := may[h]; !ok {
				t.Errorf("seed %d: %s is condemned for the target alone", seed, s.byHash[h].Name)
			}
		}
		sound := func() bool { // what stays has what it needs, as far as it could go
			for h := range may {
				if _, gone := goes[h]; gone {
					continue
				}
				for need := range s.closure(policy.DropBuild, h) {
					if _, gone := goes[need]; gone {
						return false
					}
				}
			}
			return true
		}
		if !sound() {
			t.Fatalf("seed %d: something stays without what it needs", seed)
		}
		lost := 0.0
		for dear, size := range goes {
			lost += seconds(dear)
			delete(goes, dear)
			for cheap, frees := range may {
				if _, gone := goes[cheap]; gone || cheap == dear {
					continue
				}
				if tried++; frees < size || seconds(cheap) >= seconds(dear) {
					continue
				}
				goes[cheap] = frees
				if sound() {
					t.Errorf("seed %d: %s goes (%d bytes, %g s), and %s could instead (%d bytes, %g s)", seed,
						s.byHash[dear].Name, size, seconds(dear), s.byHash[cheap].Name, frees, seconds(cheap))
				}
				delete(goes, cheap)
			}
			goes[dear] = size
		}
		if p.Target == nil || p.Target.Kept != len(may)-len(goes) || p.Target.Lost != lost {
			t.Errorf("seed %d: got %+v, want %d kept and %g s lost", seed, p.Target, len(may)-len(goes), lost)
		}
	}
	if tried < 100 {
		t.Errorf("only %d exchanges were tried", tried)
	}
}

// The janitor's promises hold with a target size as without.
func TestPromisesHoldWithATargetSize(t *testing.T) {
	for seed := range uint64(seeds(t)) {
		s := newScene(t, seed)
		policy := s.policy()
		before := view(t, s.m.contents())
		p, err := s.pricing(policy).Plan(t.Context())
		if err != nil {
			continue
		}
		policy.TargetSize = p.After.Bytes + s.rand.Int64N(1+p.Room.Bytes)
		j := s.pricing(policy)
		if p, err = j.Plan(t.Context()); err != nil {
			t.Fatal(err)
		}
		goes := condemnedBy(p)
		s.m.before = func(what, key string) error {
			view(t, s.m.contents()).noHoles(t, "before "+what+" "+key)
			return nil
		}
		if _, err := j.Apply(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.m.before = nil
		after := view(t, s.m.contents())
		after.noHoles(t, "after")
		for h := range before.installable {
			if _, gone := goes[h]; !gone && !after.installable[h] {
				t.Errorf("seed %d: lost %s, which was not condemned", seed, s.byHash[h].Name)
			}
		}
		for h := range s.needed(policy) {
			if before.installable[h] && !after.installable[h] {
				t.Errorf("seed %d: lost %s, which is needed", seed, s.byHash[h].Name)
			}
		}
	}
}

// What was condemned goes before what was not, so that a cache whose costs change is freed all the
// same; and it comes back when there is room.
func TestWhatWaitsGoesOnWaitingUnderATargetSize(t *testing.T) {
	w, roots := shelf(t, "1", "2", "3", "4")
	s := &scene{world: w, locks: roots.Locks}
	policy := janitor.Policy{MaxFraction: 1, Wait: 6 * day}
	one := s.pricing(policy)
	all, err := one.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dear := 1.0 // turns the prices around
	price := func(_ context.Context, all []*janitor.Priced) error {
		for _, p := range all {
			p.Seconds = 1000 + dear*float64(p.Spec.Version[0])
		}
		return nil
	}
	one.Price = price
	one.Policy.TargetSize = all.After.Bytes + all.Room.Bytes/2 + 10
	p, err := one.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := going(p); got != "tool@1 unneeded, tool@2 unneeded" {
		t.Fatalf("got %s", got)
	}
	if _, err := one.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	dear = -1
	if p, err = one.Plan(t.Context()); err != nil || going(p) != "tool@1 unneeded, tool@2 unneeded" {
		t.Errorf("other prices: got %s, %v", going(p), err)
	}
	one.Policy.TargetSize = all.Before.Bytes
	if p, err = one.Plan(t.Context()); err != nil || len(condemnedBy(p)) != 0 {
		t.Errorf("room for all: got %s, %v", going(p), err)
	}
}

func TestATargetSizeIsRefusedWhereItCannotChoose(t *testing.T) {
	w, roots := shelf(t, "1")
	s := &scene{world: w, locks: roots.Locks}
	j := s.pricing(janitor.Policy{NoRoots: true, MaxAge: time.Hour, TargetSize: 1})
	j.Roots = nil
	if _, err := j.Plan(t.Context()); !errors.Is(err, janitor.ErrRefused) || !strings.Contains(err.Error(), "no roots") {
		t.Errorf("without roots: got %v", err)
	}
	down := errors.New("down")
	j = s.pricing(janitor.Policy{MaxFraction: 1, TargetSize: 1})
	j.Price = func(context.Context, []*janitor.Priced) error { return down }
	if _, err := j.Plan(t.Context()); !errors.Is(err, down) {
		t.Errorf("where prices cannot be read: got %v", err)
	}
	j = s.pricing(janitor.Policy{MaxFraction: 1, TargetSize: 1})
	p, err := j.Plan(t.Context())
	if err != nil || p.Target.Needed <= p.Target.Size || !strings.Contains(p.Target.String(), "out of reach") || len(slices.Collect(p.Specs())) != 1 {
		t.Errorf("a target that is too small: got %+v, %v", p.Target, err)
	}
}
