package index

import (
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Rewrite writes the index of a cache that holds exactly what keep holds. src is
// the file that Read has read.
//
// The entries of keep stay, and what they depend on by any type, since Spack
// drops edges to what is no entry. in_buildcache becomes true for those of keep
// and false for the others; each ref_count becomes the number of edges from
// other entries that stay. Spack's own update-index does the same. All other bytes are copied
// as they are; where nothing changes, the whole file is.
//
// A src that is another file than the one read is noticed where a value changes
// and at the end. Who cannot be sure of it should Read what was written.
func (g *Graph) Rewrite(dst io.Writer, src io.ReaderAt, keep Bits) error {
	if err := g.changeable(); err != nil {
		return err
	}
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
		c.record(n, refs[id], keep.Has(id))
		before, gap, first = end, false, false
	}
	if gap {
		c.skipTo(g.close)
	}
	c.copyTo(g.size)
	return c.finish()
}

// changeable refuses to rewrite what is no index, or one of a version that was not tried.
func (g *Graph) changeable() error {
	if g.close == 0 {
		return errNoIndex
	}
	if note := g.Note(); note != "" {
		return fmt.Errorf("%w: %s", ErrNewer, note)
	}
	return nil
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

// Append writes an index with entries of another one behind its own: those of
// ids that it does not have. src and otherSrc are the files that the two were
// read from. Values such as ref_count stay as they are.
func (g *Graph) Append(dst io.Writer, src io.ReaderAt, other *Graph, otherSrc io.ReaderAt, ids Bits) error {
	for _, graph := range []*Graph{g, other} {
		if err := graph.changeable(); err != nil {
			return err
		}
	}
	c := newCopier(dst, src, g.size)
	end := g.open
	for _, id := range g.order {
		end = max(end, g.nodes[id].at+int64(g.nodes[id].size))
	}
	c.copyTo(end)
	comma := len(g.order) > 0
	for _, id := range other.order {
		at, has := g.table.find(other.hashes[id], g.hashes)
		if !ids.Has(id) || has && !g.Missing(at) {
			continue
		}
		n := &other.nodes[id]
		record := make([]byte, n.size)
		if _, err := otherSrc.ReadAt(record, n.at); err != nil && c.err == nil {
			c.err = fmt.Errorf("index: byte %d: %w: %w", n.at, errChanged, err)
		}
		if comma {
			c.write(",")
		}
		c.write(string(record))
		comma = true
	}
	c.copyTo(g.size)
	return c.finish()
}
