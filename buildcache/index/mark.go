package index

import (
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// anyType selects every dependency.
const anyType = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test

// Mark returns the roots and all that they need by edges of the given types,
// missing nodes too. A spliced spec always needs the one whose binary it uses.
func (g *Graph) Mark(roots []uint32, types buildcache.DepTypes) Bits {
	return g.reach(roots, types|splice, nil)
}

// A Trace is what Mark marks, and why.
type Trace struct {
	Bits
	from []uint32 // who came first to need a node: its number + 1; 0 for roots
}

// A Chain leads from a root to a spec: each is needed by the one before it.
type Chain []uint32

// Trace marks like Mark, and remembers a shortest chain to each node.
func (g *Graph) Trace(roots []uint32, types buildcache.DepTypes) Trace {
	from := make([]uint32, g.Len())
	return Trace{Bits: g.reach(roots, types|splice, from), from: from}
}

// Chain tells why a node is marked. It is empty for one that is not.
func (t Trace) Chain(id uint32) Chain {
	if !t.Has(id) {
		return nil
	}
	chain := Chain{id}
	for t.from[id] != 0 {
		id = t.from[id] - 1
		chain = append(chain, id)
	}
	slices.Reverse(chain)
	return chain
}

// reach walks breadth first, so that chains are short.
func (g *Graph) reach(roots []uint32, types buildcache.DepTypes, from []uint32) Bits {
	seen := NewBits(g.Len())
	var queue []uint32
	for _, id := range roots {
		if !seen.Has(id) {
			seen.Set(id)
			queue = append(queue, id)
		}
	}
	for k := 0; k < len(queue); k++ {
		for _, e := range g.edgesOf(queue[k]) {
			to := e.id()
			if e.types()&types == 0 || seen.Has(to) {
				continue
			}
			seen.Set(to)
			if from != nil {
				from[to] = queue[k] + 1
			}
			queue = append(queue, to)
		}
	}
	return seen
}
