package index

import (
	"io"
	"slices"
	"strconv"
)

// Rewrite writes the index that remains when keep is all that stays in the
// cache. src is the file that Read has read.
//
// The entries of keep stay, and what they depend on by any type, since Spack
// drops edges to what is no entry. Those that are in the cache stay so if keep
// holds them; each ref_count becomes the number of edges from other entries
// that stay. Spack's own update-index does the same. All other bytes are copied
// as they are; where nothing changes, the whole file is.
//
// A src that is another file than the one read is noticed where a value changes
// and at the end. Who cannot be sure of it should Read what was written.
func (g *Graph) Rewrite(dst io.Writer, src io.ReaderAt, keep Bits) error {
	stay := g.reach(slices.Collect(keep.All()), anyType, nil)
	refs := g.count(stay)
	c := newCopier(dst, src, g.size)
	before, gap, first := g.open, false, true // end of the last record; whether some were left out since the last one kept; whether none was kept
	for _, id := range g.order {
		n := &g.nodes[id]
		end := n.at + int64(n.size)
		if !stay.Has(id) {
			if !gap {
				c.copyTo(before)
				gap = true
			}
			before = end
			continue
		}
		if gap {
			c.skipTo(n.at)
			if !first {
				c.write(",")
			}
		}
		c.record(n, refs[id], n.flags&inCache != 0 && keep.Has(id))
		before, gap, first = end, false, false
	}
	if gap {
		c.skipTo(g.close)
	}
	c.copyTo(g.size)
	return c.finish()
}

// count counts the edges between nodes that stay.
func (g *Graph) count(stay Bits) []uint32 {
	refs := make([]uint32, g.Len())
	for id := range stay.All() {
		for _, e := range g.edgesOf(id) {
			if to := e.id(); to != id && e.types() != splice {
				refs[to]++
			}
		}
	}
	return refs
}

// record copies a record up to the last value that changes.
func (c *copier) record(n *node, refs uint32, cached bool) {
	patchRefs := func() {
		if refs != n.refs {
			c.replace(n.at+int64(n.refAt), strconv.FormatUint(uint64(n.refs), 10), strconv.FormatUint(uint64(refs), 10))
		}
	}
	if n.refAt < n.inAt {
		patchRefs()
	}
	if was := n.flags&inCache != 0; was != cached {
		c.replace(n.at+int64(n.inAt), strconv.FormatBool(was), strconv.FormatBool(cached))
	}
	if n.refAt > n.inAt {
		patchRefs()
	}
}
