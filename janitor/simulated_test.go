package janitor_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/history"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/simulate"
)

// A replay is a random history, with a real cache to which everything is pushed that a simulation
// builds.
type replay struct {
	*stage
	history.History
	locks map[string][]rootset.Lock // by environment: that of each of its events
}

func newReplay(t *testing.T, seed uint64) *replay {
	r := &replay{stage: newStage(t, 2+int(seed%2)), locks: map[string][]rootset.Lock{}}
	r.rand = rand.New(rand.NewPCG(seed, 2))
	for range 8 + r.rand.IntN(30) {
		r.add(r.rand.IntN(4))
	}
	b := history.Builder{Cost: func(s *buildcache.Spec) (size int64, secs float64, estimated bool) {
		for _, u := range r.uploads(r.byHash[string(s.Hash)]) {
			size += int64(len(u.data))
		}
		return size, seconds(string(s.Hash)), false
	}}
	at := now
	for i := range 6 + r.rand.IntN(12) {
		at = at.Add(time.Duration(1+r.rand.IntN(300)) * time.Hour)
		e := history.Event{At: at, Environment: fmt.Sprint("env", i%3)}
		if i%3 == 0 || r.rand.IntN(5) > 0 { // env0 never ends: without any roots a janitor refuses
			var roots []*node
			for range 1 + r.rand.IntN(2) {
				if n := r.nodes[r.rand.IntN(len(r.nodes))]; n.External == nil {
					roots = append(roots, n)
				}
			}
			if len(roots) == 0 {
				continue
			}
			full, err := r.lock(e.Environment, roots...).Full()
			if err != nil {
				t.Fatal(err)
			}
			e.Roots = b.Lock(full)
			r.locks[e.Environment] = append(r.locks[e.Environment], r.lock(e.Environment, roots...))
		}
		b.Events = append(b.Events, e)
	}
	r.History = b.History
	return r
}

// policy is one for both, with pins that name some specs and some that name none.
func (r *replay) policy() (tried simulate.Policy, real janitor.Policy) {
	tried = simulate.Policy{Order: simulate.All, Every: 7 * day, Grace: time.Duration(2+r.rand.IntN(96)) * time.Hour, Wait: time.Duration(r.rand.IntN(3)) * 5 * day, KeepLast: r.rand.IntN(3)}
	if r.rand.IntN(3) == 0 {
		tried.MaxAge = time.Duration(r.rand.IntN(60)) * day
	}
	for range r.rand.IntN(4) {
		n := r.nodes[r.rand.IntN(len(r.nodes))]
		names := []string{n.Name, n.Name + "@" + n.Version, n.Name + "@" + n.Version + "/" + n.Hash[:4], "/" + n.Hash[:3], n.Hash, "p99", n.Name + "@9"}
		tried.Pins = append(tried.Pins, rootset.Pin(names[r.rand.IntN(len(names))]))
	}
	if r.rand.IntN(2) == 0 {
		tried.Order = simulate.Cheap
		tried.HalfLife = time.Duration(r.rand.IntN(2)) * 30 * day
	}
	return tried, janitor.Policy{MaxFraction: 1, EvenIfWritten: true, Grace: tried.Grace, MaxAge: tried.MaxAge, Wait: tried.Wait, KeepLast: tried.KeepLast, HalfLife: tried.HalfLife}
}

// roots are what was wanted before a time.
func (r *replay) rootsBefore(at time.Time, pins []rootset.Pin) rootset.Roots {
	last, n := map[string]rootset.Lock{}, map[string]int{}
	for _, e := range r.Events {
		switch {
		case !e.At.Before(at):
		case len(e.Roots) == 0:
			delete(last, e.Environment)
		default:
			last[e.Environment] = r.locks[e.Environment][n[e.Environment]]
			n[e.Environment]++
		}
	}
	return rootset.Roots{Locks: slices.Collect(maps.Values(last)), Pins: pins}
}

func (r *replay) present() map[string]bool {
	there := map[string]bool{}
	for _, n := range r.nodes {
		if n.External == nil && r.world.present(n) {
			there[n.Hash] = true
		}
	}
	return there
}

// A simulation and the janitor condemn and delete the same specs at each time by the same policy.
func TestASimulationDoesWhatTheJanitorDoes(t *testing.T) {
	runs, condemned, deleted := 0, 0, 0
	for seed := range uint64(size.Count(3, 15, 400)) {
		r := newReplay(t, seed)
		tried, policy := r.policy()
		if tried.Order == simulate.Cheap { // to a third of all that was ever wanted
			for _, s := range r.Specs {
				tried.Target += s.Size / 3
			}
		}
		what := fmt.Sprintf("seed %d, %+v", seed, tried)
		_, err := simulate.Watch(&r.History, tried, func(at time.Time, run bool, specs []simulate.State) {
			there := r.present()
			r.pass(at.Sub(r.now()))
			if !run {
				for i, s := range specs {
					if n := r.byHash[string(r.Specs[i].Hash)]; s.Present && !there[n.Hash] {
						r.push(n, at)
					}
				}
				r.updateIndex(at)
				return
			}
			want, left, bytes := map[string]bool{}, map[string]bool{}, int64(0)
			for i, s := range specs {
				h := string(r.Specs[i].Hash)
				if there[h] {
					bytes += r.Specs[i].Size
				}
				if there[h] && (!s.Present || !s.Condemned.IsZero()) {
					want[h] = true
				}
				if s.Present {
					left[h] = true
				}
			}
			j := r.janitor()
			j.Policy, j.Settle = policy, -1
			j.Roots = func(context.Context) (rootset.Roots, error) { return r.rootsBefore(at, tried.Pins), nil }
			if tried.Target > 0 {
				j.Price = (&scene{world: r.world}).pricing(policy).Price
				j.Policy.TargetSize = 1
				p, err := j.Plan(t.Context())
				if err != nil {
					t.Fatalf("%s: %s: %v", what, at, err)
				}
				whole := p.Target.Needed + p.Target.KeptBytes + p.Target.Freed // with the index, which a history has not
				j.Policy.TargetSize = tried.Target + whole - bytes
			}
			p, err := j.Plan(t.Context())
			if err != nil {
				t.Fatalf("%s: %s: %v", what, at, err)
			}
			got := map[string]bool{}
			for h := range condemnedBy(p) {
				got[h] = true
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%s: on %s %v are condemned, by the simulation %v; before: %d bytes, %+v", what, at, sorted(got), sorted(want), bytes, p.Before)
			}
			done, err := j.Apply(t.Context(), p)
			if err != nil {
				t.Fatalf("%s: %s: %v", what, at, err)
			}
			if there = r.present(); !maps.Equal(there, left) {
				t.Fatalf("%s: on %s %v are left, by the simulation %v", what, at, sorted(there), sorted(left))
			}
			runs, condemned, deleted = runs+1, condemned+len(want), deleted+done.Specs
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d runs, %d specs condemned, %d deleted", runs, condemned, deleted)
	if condemned == 0 || deleted == 0 {
		t.Error("nothing was condemned or deleted")
	}
}
