package simulate

import (
	"container/heap"
	"fmt"
	"iter"
	"time"

	"github.com/openbraininstitute/spacktainers/janitor/retain"
)

// An Order is what goes first of what no root needs.
type Order int

// The orders. All but Nothing and All stop at the target size.
const (
	Nothing Order = iota // nothing ever goes
	All                  // all goes, as without a target size
	Cheap                // what takes least time to build again for its bytes: what the janitor does
	Oldest               // by upload
	Unused               // what no build has used for longest
	Biggest
)

// Orders are the names of all, by which a user chooses.
var Orders = []string{"nothing", "all", "cheap", "oldest", "unused", "biggest"}

// String returns the name.
func (o Order) String() string { return Orders[o] }

// ParseOrder reads a name.
func ParseOrder(name string) (Order, error) {
	for i, n := range Orders {
		if n == name {
			return Order(i), nil
		}
	}
	return 0, fmt.Errorf("unknown order %q", name)
}

// choose decides which of the specs that may go do.
func (c *cache) choose(may []int, now time.Time) []bool {
	switch c.policy.Order {
	case Nothing:
		return make([]bool, len(may))
	case All:
		goes := make([]bool, len(may))
		for i := range goes {
			goes[i] = true
		}
		return goes
	case Cheap:
		items := c.items(may)
		for k, i := range may {
			items[k].Seconds *= retain.Fade(now.Sub(c.specs[i].Uploaded), c.policy.HalfLife)
		}
		return retain.Choose(items, c.bytes-c.policy.Target)
	}
	return c.inOrder(may)
}

func (c *cache) items(may []int) []retain.Item {
	number := make(map[int]int, len(may))
	items := make([]retain.Item, len(may))
	needed := func(i int) iter.Seq[int] { // but what stays anyhow
		return func(yield func(int) bool) {
			for _, n := range c.Specs[i].Needs {
				_, may := number[n.Spec]
				if (may || !c.specs[n.Spec].Present) && !yield(n.Spec) {
					return
				}
			}
		}
	}
	for k, i := range may { // ascending: what a spec needs has a number already
		number[i] = k
		items[k] = retain.Item{Size: c.Specs[i].Size, Seconds: c.Specs[i].Seconds, Marked: !c.specs[i].Condemned.IsZero()}
		items[k].Needs = retain.Needs(i, needed, number)
	}
	return items
}

// inOrder takes one after the other what nothing needs that stays, what is condemned already first.
func (c *cache) inOrder(may []int) []bool {
	items := c.items(may)
	goes := make([]bool, len(may))
	users := make([]int, len(may)) // that stay
	for _, item := range items {
		for _, n := range item.Needs {
			users[n]++
		}
	}
	q := &line{before: func(a, b int) bool {
		if items[a].Marked != items[b].Marked {
			return items[a].Marked
		}
		return c.before(may[a], may[b])
	}}
	for k := range may {
		if users[k] == 0 {
			heap.Push(q, k)
		}
	}
	for free := c.bytes - c.policy.Target; free > 0 && q.Len() > 0; {
		k := heap.Pop(q).(int)
		goes[k] = true
		free -= items[k].Size
		for _, n := range items[k].Needs {
			if users[n]--; users[n] == 0 {
				heap.Push(q, n)
			}
		}
	}
	return goes
}

func (c *cache) before(a, b int) bool {
	older := func(x, y time.Time) bool { return x.Before(y) || x.Equal(y) && a < b }
	switch c.policy.Order {
	case Biggest:
		return c.Specs[a].Size > c.Specs[b].Size || c.Specs[a].Size == c.Specs[b].Size && a < b
	case Unused:
		return older(c.specs[a].asked, c.specs[b].asked)
	}
	return older(c.specs[a].Uploaded, c.specs[b].Uploaded)
}

// A line is a heap of numbers.
type line struct {
	all    []int
	before func(a, b int) bool
}

func (l *line) Len() int           { return len(l.all) }
func (l *line) Less(i, j int) bool { return l.before(l.all[i], l.all[j]) }
func (l *line) Swap(i, j int)      { l.all[i], l.all[j] = l.all[j], l.all[i] }
func (l *line) Push(x any)         { l.all = append(l.all, x.(int)) }
func (l *line) Pop() any {
	last := len(l.all) - 1
	x := l.all[last]
	l.all = l.all[:last]
	return x
}
