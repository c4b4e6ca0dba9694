// Package simulate says what policies of the janitor would have done: it replays a history against
// each, and tells how big the cache would have been, and what would have been built again because
// it had been deleted.
//
// It keeps the janitor's rules of time (grace, wait, holds) and of need, on a model of the cache: no
// index, no listing, no race. What it leaves out are rules that no history tells of: pins, keep_last,
// stale packages.
package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/history"
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
	if err := h.Check(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	if policy.Every == 0 {
		policy.Every = 7 * 24 * time.Hour
	}
	if policy.HalfLife < 0 || policy.Every < 0 || policy.Grace < 0 || policy.MaxAge < 0 || policy.Wait < 0 || policy.Target < 0 {
		return Result{}, fmt.Errorf("simulate: a rule of the policy is negative")
	}
	c := newCache(h, policy)
	if len(h.Events) > 0 {
		next := h.Events[0].At.Add(policy.Every)
		for _, e := range h.Events {
			for ; !e.At.Before(next); next = next.Add(policy.Every) {
				c.clean(next)
			}
			c.happen(e)
		}
		c.clean(next)
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
	specs  []state
	wanted map[string][]int // roots of each environment
	users  [][]history.Need // by spec: what needs it
}

// A state is that of a spec.
type state struct {
	present   bool
	builds    int
	uploaded  time.Time
	asked     time.Time // when a build last used it
	condemned time.Time // zero: it is live
}

func newCache(h *history.History, policy Policy) *cache {
	c := &cache{History: h, policy: policy, specs: make([]state, len(h.Specs)), wanted: map[string][]int{}, users: make([][]history.Need, len(h.Specs))}
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
			if n.Types&buildcache.Runtime != 0 || !s.present && n.Types&buildcache.Build != 0 {
				visit(n.Spec)
			}
		}
		if s.asked = e.At; !s.present {
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
	s.present, s.uploaded, s.condemned = true, at, time.Time{}
	c.bytes += spec.Size
	c.result.Most = max(c.result.Most, c.bytes)
}

// clean is a run of the janitor.
func (c *cache) clean(now time.Time) {
	live := c.live(now)
	var may []int
	for i := range c.specs {
		switch {
		case !c.specs[i].present:
		case live[i]:
			c.specs[i].condemned = time.Time{}
		default:
			may = append(may, i)
		}
	}
	goes := c.choose(may, now)
	for k, i := range may {
		switch s := &c.specs[i]; {
		case !goes[k]:
			s.condemned = time.Time{}
		case s.condemned.IsZero():
			s.condemned = now
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
	for i := range c.specs {
		if age := now.Sub(c.specs[i].uploaded); c.specs[i].present && age < max(c.policy.Grace, c.policy.MaxAge) {
			live[i] = true
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

// delete removes what has waited, and what nothing needs that stays.
func (c *cache) delete(now time.Time) {
	for i := len(c.specs) - 1; i >= 0; i-- {
		s := &c.specs[i]
		if !s.present || s.condemned.IsZero() || now.Sub(s.condemned) < c.policy.Wait {
			continue
		}
		held := slices.ContainsFunc(c.users[i], func(n history.Need) bool { return c.specs[n.Spec].present && n.Types&buildcache.Runtime != 0 })
		if held {
			continue
		}
		s.present, s.condemned = false, time.Time{}
		c.bytes -= c.Specs[i].Size
		c.result.Deleted++
	}
}
