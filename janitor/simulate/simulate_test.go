package simulate

import (
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/reallocks"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/janitor/history"
)

const day = 24 * time.Hour

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

func run(t *testing.T, h *history.History, p Policy) Result {
	t.Helper()
	r, err := Run(h, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func realHistory(t *testing.T, seed uint64, weeks int) history.History {
	t.Helper()
	locks, err := reallocks.Read()
	if err != nil {
		t.Fatal(err)
	}
	return history.Generate(locks, history.GuessedCost, history.Generated{Seed: seed, Start: start, Weeks: weeks})
}

// A lib is linked by an app that is wanted, then is not, then is again.
func twice() *history.History {
	return &history.History{
		Specs: []history.Spec{
			{Name: "lib", Size: 10, Seconds: 100},
			{Name: "tool", Size: 1, Seconds: 7},
			{Name: "app", Size: 20, Seconds: 30, Needs: []history.Need{{Spec: 0, Types: buildcache.Link}, {Spec: 1, Types: buildcache.Build}}},
			{Name: "app", Size: 30, Seconds: 40},
		},
		Events: []history.Event{
			{At: start, Environment: "env", Roots: []int{2}},
			{At: start.Add(1 * day), Environment: "env", Roots: []int{3}},
			{At: start.Add(40 * day), Environment: "env", Roots: []int{2}},
		},
	}
}

func TestWhatWasDeletedIsBuiltAgain(t *testing.T) {
	for name, c := range map[string]struct {
		policy  Policy
		again   int
		seconds float64
		last    int64
		deleted int
	}{
		"nothing goes":            {Policy{Order: Nothing}, 0, 0, 61, 0},
		"all goes":                {Policy{Order: All, Wait: 6 * day}, 3, 137, 61, 3},
		"it waits longer":         {Policy{Order: All, Wait: 60 * day}, 0, 0, 61, 0},
		"it is younger":           {Policy{Order: All, Wait: 6 * day, MaxAge: 90 * day}, 0, 0, 61, 0},
		"within the target":       {Policy{Order: Cheap, Wait: 6 * day, Target: 100}, 0, 0, 61, 0},
		"the app goes alone":      {Policy{Order: Cheap, Wait: 6 * day, Target: 41}, 1, 30, 61, 1},
		"and the tool":            {Policy{Order: Cheap, Wait: 6 * day, Target: 40}, 2, 37, 61, 2},
		"oldest: tops first":      {Policy{Order: Oldest, Wait: 6 * day, Target: 41}, 1, 30, 61, 1},
		"biggest: what is needed": {Policy{Order: Biggest, Wait: 6 * day, Target: 31}, 2, 130, 61, 2},
	} {
		r := run(t, twice(), c.policy)
		if r.Again != c.again || r.AgainSeconds != c.seconds || r.Last != c.last || r.Deleted != c.deleted {
			t.Errorf("%s: got %d again for %g s, %d bytes, %d deleted; want %d, %g, %d, %d", name,
				r.Again, r.AgainSeconds, r.Last, r.Deleted, c.again, c.seconds, c.last, c.deleted)
		}
	}
}

// Whatever the policy, what is wanted is there after each event, and time and bytes add up.
func TestNoPolicyDeletesWhatIsWanted(t *testing.T) {
	for seed := range uint64(size.Pick(1, 2, 30)) {
		h := realHistory(t, seed, size.Pick(12, 52, 52))
		never := run(t, &h, Policy{Order: Nothing})
		for order := All; order <= Biggest; order++ {
			p := Policy{Order: order, Target: never.Last / 3, Wait: 6 * day, Grace: 2 * day, Every: 7 * day}
			c := newCache(&h, p)
			next := h.Events[0].At.Add(p.Every)
			for _, e := range h.Events {
				for ; !e.At.Before(next); next = next.Add(p.Every) {
					before := c.bytes
					c.clean(next)
					for name, roots := range c.wanted {
						for _, r := range roots {
							if !c.specs[r].Present {
								t.Fatalf("seed %d, %s: a root of %s is gone", seed, order, name)
							}
						}
					}
					if c.bytes > before {
						t.Fatalf("seed %d, %s: a run makes the cache bigger", seed, order)
					}
				}
				c.happen(e)
			}
			var bytes int64
			for i, s := range c.specs {
				if s.Present {
					bytes += h.Specs[i].Size
				}
			}
			if bytes != c.bytes {
				t.Errorf("seed %d, %s: %d bytes are there, %d are counted", seed, order, bytes, c.bytes)
			}
			if got := c.result.BuiltSeconds - c.result.AgainSeconds - never.BuiltSeconds; got > 1 || got < -1 {
				t.Errorf("seed %d, %s: what was built for the first time differs by %g s", seed, order, got)
			}
		}
	}
}

// The history and its costs were written down before any of the policies: see the log of this
// repository. At a quarter of the size, cheap loses less than both others; where there is more room
// age tells more, and only with a half-life it does.
func TestCheapFirstLosesLessThanOldestAndBiggestFirst(t *testing.T) {
	size.Need(t, size.All)
	lost := map[string]float64{}
	for seed := range uint64(size.Pick(0, 1, 6)) {
		h := realHistory(t, seed, 52)
		never := run(t, &h, Policy{Order: Nothing})
		for _, p := range []Policy{{Order: Cheap}, {Order: Cheap, HalfLife: 56 * day}, {Order: Oldest}, {Order: Biggest}} {
			p.Target, p.Wait, p.Grace = never.Last/4, 6*day, 2*day
			r := run(t, &h, p)
			lost[p.String()] += r.AgainSeconds / 60
			t.Logf("seed %d, %s: mean %d MB, %d built again in %.0f min; took %v", seed, p, r.Mean/1e6, r.Again, r.AgainSeconds/60, r.Took)
		}
	}
	t.Logf("minutes of building again: %v", lost)
	if cheap := lost["cheap"]; cheap > 0.9*lost["oldest"] || cheap > 0.8*lost["biggest"] || lost["cheap, half-life 56 days"] > 0.8*lost["oldest"] {
		t.Errorf("got %v", lost)
	}
}
