// Package simulate says what policies of the janitor would have done: it replays a history against
// each, and tells how big the cache would have been, and what would have been built again because
// it had been deleted.
//
// It keeps the janitor's rules of time (grace, wait, holds) and of need, pins and newest versions, on
// a model of the cache: no index, no listing, no race. What it leaves out no history tells: which
// packages the repositories had at the time (stale ones), what was fetched (used_since), root sets of
// others; and what a person would have done when the janitor refused (max_fraction, no roots at all).
package simulate

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/history"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// A Policy is one that is tried.
type Policy struct {
	Order    Order
	Target   int64         // bytes: no more is condemned than brings the cache down to it; not for All and Nothing
	HalfLife time.Duration // for Cheap: what is older by this is half as likely to be needed again; 0: age says nothing
	Every    time.Duration // between two runs of the janitor; 7 days if 0
	Grace    time.Duration // what was uploaded less long ago stays
	MaxAge   time.Duration // so does this; 0: no such rule
	Wait     time.Duration // from condemning to deleting
	KeepLast int           // newest versions of each package that stay; 0: no such rule
	Pins     []rootset.Pin // of specs that stay
}

// String returns the name of the order, with the half-life if there is one.
func (p Policy) String() string {
	if p.Order == Cheap && p.HalfLife > 0 {
		return fmt.Sprintf("%s, half-life %.0f days", p.Order, p.HalfLife.Hours()/24)
	}
	return p.Order.String()
}

// A Result is what a policy would have done.
type Result struct {
	Policy       string        `json:"policy"`
	Built        int           `json:"built"`         // packages that were built, those again included
	BuiltSeconds float64       `json:"built_seconds"` // for these
	Again        int           `json:"again"`         // of those that were built before, and deleted
	AgainSeconds float64       `json:"again_seconds"`
	Deleted      int           `json:"deleted"`
	Mean         int64         `json:"mean_bytes"` // bytes of the cache after a run of the janitor
	Most         int64         `json:"most_bytes"` // bytes at any time
	Last         int64         `json:"last_bytes"`
	Sizes        []Size        `json:"sizes"` // after each run of the janitor
	Took         time.Duration `json:"-"`
}

// A Size is how big the cache was at a time.
type Size struct {
	At    time.Time `json:"at"`
	Bytes int64     `json:"bytes"`
}

// Run replays a history against a policy.
func Run(h *history.History, policy Policy) (Result, error) {
	return Watch(h, policy, func(time.Time, bool, []State) {})
}

// Watch is Run, and shows what has become of each spec of the history after each of its events and
// after each run of the janitor. What it shows is only good until watch returns.
func Watch(h *history.History, policy Policy, watch func(at time.Time, run bool, specs []State)) (Result, error) {
	if err := h.Check(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	if policy.Every == 0 {
		policy.Every = 7 * 24 * time.Hour
	}
	if policy.HalfLife < 0 || policy.Every < 0 || policy.Grace < 0 || policy.MaxAge < 0 || policy.Wait < 0 || policy.Target < 0 || policy.KeepLast < 0 {
		return Result{}, fmt.Errorf("simulate: a rule of the policy is negative")
	}
	c := newCache(h, policy)
	if len(h.Events) > 0 {
		next := h.Events[0].At.Add(policy.Every)
		for _, e := range h.Events {
			for ; !e.At.Before(next); next = next.Add(policy.Every) {
				c.clean(next)
				watch(next, true, c.specs)
			}
			c.happen(e)
			watch(e.At, false, c.specs)
		}
		c.clean(next)
		watch(next, true, c.specs)
	}
	c.result.Policy = policy.String()
	c.result.Last = c.bytes
	var sum float64
	for _, s := range c.result.Sizes {
		sum += float64(s.Bytes) / float64(len(c.result.Sizes))
	}
	c.result.Mean = int64(sum)
	c.result.Took = time.Since(began)
	return c.result, nil
}

// A cache is a model of one.
type cache struct {
	*history.History
	policy Policy
	result Result
	bytes  int64
	specs  []State
	wanted map[string][]int // roots of each environment
	users  [][]history.Need // by spec: what needs it
}

// A State is what has become of a spec.
type State struct {
	Present   bool
	Uploaded  time.Time // last
	Condemned time.Time // zero: it is live

	builds int
	asked  time.Time // when a build last used it
}

func newCache(h *history.History, policy Policy) *cache {
	c := &cache{History: h, policy: policy, specs: make([]State, len(h.Specs)), wanted: map[string][]int{}, users: make([][]history.Need, len(h.Specs))}
	for i, s := range h.Specs {
		for _, n := range s.Needs {
			c.users[n.Spec] = append(c.users[n.Spec], history.Need{Spec: i, Types: n.Types})
		}
	}
	return c
}

// happen is a build, or the end of an environment. What is cached is taken with what it links and
// runs with; what is not is built, and takes what it is built with.
func (c *cache) happen(e history.Event) {
	if len(e.Roots) == 0 {
		delete(c.wanted, e.Environment)
		return
	}
	c.wanted[e.Environment] = e.Roots
	seen := map[int]bool{}
	var visit func(int)
	visit = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		s := &c.specs[i]
		for _, n := range c.Specs[i].Needs {
			if n.Types&buildcache.Runtime != 0 || !s.Present && n.Types&buildcache.Build != 0 {
				visit(n.Spec)
			}
		}
		if s.asked = e.At; !s.Present {
			c.build(i, e.At)
		}
	}
	for _, r := range e.Roots {
		visit(r)
	}
}

func (c *cache) build(i int, at time.Time) {
	s, spec := &c.specs[i], &c.Specs[i]
	if s.builds++; s.builds > 1 {
		c.result.Again++
		c.result.AgainSeconds += spec.Seconds
	}
	c.result.Built++
	c.result.BuiltSeconds += spec.Seconds
	s.Present, s.Uploaded, s.Condemned = true, at, time.Time{}
	c.bytes += spec.Size
	c.result.Most = max(c.result.Most, c.bytes)
}

// clean is a run of the janitor.
func (c *cache) clean(now time.Time) {
	live := c.live(now)
	var may []int
	for i := range c.specs {
		switch {
		case !c.specs[i].Present:
		case live[i]:
			c.specs[i].Condemned = time.Time{}
		default:
			may = append(may, i)
		}
	}
	goes := c.choose(may, now)
	for k, i := range may {
		switch s := &c.specs[i]; {
		case !goes[k]:
			s.Condemned = time.Time{}
		case s.Condemned.IsZero():
			s.Condemned = now
		}
	}
	c.delete(now)
	c.result.Sizes = append(c.result.Sizes, Size{now, c.bytes})
}

// live returns what a root or a rule keeps, with all that it needs.
func (c *cache) live(now time.Time) []bool {
	live := make([]bool, len(c.specs))
	for _, roots := range c.wanted {
		for _, r := range roots {
			live[r] = true
		}
	}
	for i := range c.present() {
		if now.Sub(c.specs[i].Uploaded) < max(c.policy.Grace, c.policy.MaxAge) {
			live[i] = true
		}
	}
	for _, pin := range c.policy.Pins {
		for _, i := range rootset.Pinned(pin, c.present(), func(i int) (name, version string, hash buildcache.Hash) {
			return c.Specs[i].Name, c.Specs[i].Version, c.Specs[i].Hash
		}) {
			live[i] = true
		}
	}
	if c.policy.KeepLast > 0 {
		isLast := janitor.LastVersions(c.policy.KeepLast, func(yield func(name, version string) bool) {
			for i := range c.present() {
				if !yield(c.Specs[i].Name, c.Specs[i].Version) {
					return
				}
			}
		})
		for i := range c.present() {
			live[i] = live[i] || isLast(c.Specs[i].Name, c.Specs[i].Version)
		}
	}
	for i := len(c.specs) - 1; i >= 0; i-- { // dependents come behind what they need
		if live[i] {
			for _, n := range c.Specs[i].Needs {
				live[n.Spec] = true
			}
		}
	}
	return live
}

// present yields the specs that are in the cache.
func (c *cache) present() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range c.specs {
			if c.specs[i].Present && !yield(i) {
				return
			}
		}
	}
}

// delete removes what has waited, and what nothing needs that stays.
func (c *cache) delete(now time.Time) {
	for i := len(c.specs) - 1; i >= 0; i-- {
		s := &c.specs[i]
		if !s.Present || s.Condemned.IsZero() || now.Sub(s.Condemned) < c.policy.Wait {
			continue
		}
		held := slices.ContainsFunc(c.users[i], func(n history.Need) bool { return c.specs[n.Spec].Present && n.Types&buildcache.Runtime != 0 })
		if held {
			continue
		}
		s.Present, s.Condemned = false, time.Time{}
		c.bytes -= c.Specs[i].Size
		c.result.Deleted++
	}
}
