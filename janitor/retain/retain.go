// Package retain chooses, of packages that may go, those that do: what costs least to build again for
// each byte that is freed.
//
// What stays keeps what it needs, so this is a knapsack with precedence, for which nobody knows a
// fast exact answer. Choose is a greedy one that is improved until no single exchange betters it.
package retain

import (
	"container/heap"
	"iter"
	"math"
	"slices"
	"time"
)

// An Item is a package that may go.
type Item struct {
	Size    int64   // bytes that are freed when it goes
	Seconds float64 // to build it again
	Needs   []int   // items that stay if it stays
	Marked  bool    // it was chosen before, and goes before those that were not
}

// Needs returns the items that one thing needs: directly, or by way of things that are no items, as they
// have gone long ago. edges yields what a thing needs directly; items are their positions.
func Needs[T comparable](of T, edges func(T) iter.Seq[T], items map[T]int) (needs []int) {
	var through map[T]bool
	var visit func(T)
	visit = func(thing T) {
		for to := range edges(thing) {
			if n, ok := items[to]; ok {
				needs = append(needs, n)
				continue
			}
			if through == nil {
				through = map[T]bool{}
			}
			if !through[to] {
				through[to] = true
				visit(to)
			}
		}
	}
	visit(of)
	return needs
}

// Choose returns which items go, so that at least free bytes are freed, or all. An item goes only
// with all that needs it. Of those that go none can be left out, and none exchanged for one that
// stays so that enough is freed still and building again what goes takes less time, but for one that
// is Marked for one that is not.
func Choose(items []Item, free int64) (goes []bool) {
	c := newChooser(items, free)
	c.greedy()
	for c.drop() || c.exchange() {
	}
	return c.goes
}

// Seconds is how long it takes to build again what goes.
func Seconds(items []Item, goes []bool) (sum float64) {
	for i, item := range items {
		if goes[i] {
			sum += item.Seconds
		}
	}
	return sum
}

// Fade is what the time to build something counts for at an age, where of two things that one which
// is older by a half-life is half as likely to be needed again. Without a half-life it is 1.
func Fade(age, halfLife time.Duration) float64 {
	if halfLife <= 0 {
		return 1
	}
	return math.Exp2(-float64(max(0, age)) / float64(halfLife))
}

// A chooser is on its way to a choice.
type chooser struct {
	items []Item
	free  int64   // to be freed
	freed int64   // by those that go
	users [][]int // by item: the items that need it
	goes  []bool
	seen  []int // by item: the walk that saw it last
	walk  int
}

func newChooser(items []Item, free int64) *chooser {
	c := &chooser{items: items, free: free, users: make([][]int, len(items)), goes: make([]bool, len(items)), seen: make([]int, len(items))}
	for i, item := range items {
		for _, n := range item.Needs {
			c.users[n] = append(c.users[n], i)
		}
	}
	return c
}

// maxGroup bounds how much of what needs an item is looked at. What more needs is looked at again
// when some of that has gone.
const maxGroup = 1000

// group returns an item with all that needs it and has not gone; nil if these are too many.
func (c *chooser) group(i int) []int {
	c.walk++
	all := []int{i}
	c.seen[i] = c.walk
	for k := 0; k < len(all); k++ {
		for _, u := range c.users[all[k]] {
			if c.seen[u] == c.walk || c.goes[u] {
				continue
			}
			if len(all) == maxGroup {
				return nil
			}
			c.seen[u] = c.walk
			all = append(all, u)
		}
	}
	return all
}

// greedy takes the group that costs least for its bytes, over and over.
func (c *chooser) greedy() {
	queue := &queue{}
	for i := range c.items {
		c.offer(queue, i)
	}
	for queue.Len() > 0 && c.freed < c.free {
		o := heap.Pop(queue).(offer)
		if c.goes[o.item] {
			continue
		}
		if now, ok := c.offerOf(o.item); ok && o.before(now) { // some of its group has gone, and now it costs more
			heap.Push(queue, now)
			continue
		}
		group := c.group(o.item)
		for _, i := range group {
			c.set(i, true)
		}
		for _, i := range group {
			for _, n := range c.items[i].Needs {
				if !c.goes[n] {
					c.offer(queue, n)
				}
			}
		}
	}
}

func (c *chooser) set(i int, goes bool) {
	if c.goes[i] = goes; goes {
		c.freed += c.items[i].Size
	} else {
		c.freed -= c.items[i].Size
	}
}

func (c *chooser) offer(q *queue, i int) {
	if o, ok := c.offerOf(i); ok {
		heap.Push(q, o)
	}
}

func (c *chooser) offerOf(i int) (offer, bool) {
	o := offer{item: i, marked: c.items[i].Marked}
	var size int64
	group := c.group(i)
	for _, g := range group {
		size += c.items[g].Size
		o.price += c.items[g].Seconds
	}
	o.price /= float64(max(1, size))
	return o, group != nil
}

// An offer is what a group costs, in seconds a byte.
type offer struct {
	item   int
	marked bool
	price  float64
}

func (o offer) before(p offer) bool {
	if o.marked != p.marked {
		return o.marked
	}
	return o.price < p.price || o.price == p.price && o.item < p.item
}

type queue []offer

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].before(q[j]) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(offer)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// returnable are the items that go and could stay alone, as all that they need stays.
func (c *chooser) returnable() (all []int) {
	for i := range c.items {
		if c.goes[i] && !slices.ContainsFunc(c.items[i].Needs, func(n int) bool { return c.goes[n] }) {
			all = append(all, i)
		}
	}
	return all
}

// removable reports whether an item that stays could go alone, or with one that goes now staying.
func (c *chooser) removable(i int) bool {
	return !c.goes[i] && !slices.ContainsFunc(c.users[i], func(u int) bool { return !c.goes[u] })
}

// dearest orders items by what they cost, those first that were not marked.
func (c *chooser) dearest(all []int) {
	slices.SortStableFunc(all, func(a, b int) int {
		x, y := c.items[a], c.items[b]
		switch {
		case x.Marked != y.Marked && !x.Marked, x.Marked == y.Marked && x.Seconds > y.Seconds:
			return -1
		case x.Marked != y.Marked, x.Seconds < y.Seconds:
			return 1
		}
		return 0
	})
}

// drop keeps what need not go, the dearest first.
func (c *chooser) drop() (dropped bool) {
	for again := true; again; {
		again = false
		all := c.returnable()
		c.dearest(all)
		for _, i := range all {
			if c.freed-c.items[i].Size >= c.free {
				c.set(i, false)
				dropped, again = true, true
			}
		}
	}
	return dropped
}

// exchange keeps an item for a cheaper one that goes instead, if there are such two.
func (c *chooser) exchange() bool {
	var tops []int
	for i := range c.items {
		if c.removable(i) {
			tops = append(tops, i)
		}
	}
	slices.SortStableFunc(tops, func(a, b int) int { return int(min(1, max(-1, c.items[b].Size-c.items[a].Size))) })
	cheapest := c.cheapestUpTo(tops)
	back := c.returnable()
	c.dearest(back)
	for _, dear := range back {
		item := c.items[dear]
		least := item.Size - (c.freed - c.free)
		n, _ := slices.BinarySearchFunc(tops, least, func(i int, least int64) int { // how many are as big as that
			if c.items[i].Size >= least {
				return -1
			}
			return 1
		})
		if n == 0 || c.items[cheapest[n-1]].Seconds >= item.Seconds {
			continue
		}
		best := -1
		for _, cheap := range tops[:n] {
			if c.items[cheap].Seconds < item.Seconds && (!item.Marked || c.items[cheap].Marked) && !slices.Contains(item.Needs, cheap) &&
				(best < 0 || c.items[cheap].Seconds < c.items[best].Seconds) {
				best = cheap
			}
		}
		if best >= 0 {
			c.set(dear, false)
			c.set(best, true)
			return true
		}
	}
	return false
}

// cheapestUpTo returns for each position the cheapest item up to there.
func (c *chooser) cheapestUpTo(all []int) []int {
	cheapest := slices.Clone(all)
	for k := 1; k < len(cheapest); k++ {
		if before := cheapest[k-1]; c.items[before].Seconds <= c.items[cheapest[k]].Seconds {
			cheapest[k] = before
		}
	}
	return cheapest
}
