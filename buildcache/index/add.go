package index

import "math"

// add takes the record that was read over into the graph of an index.
func (p *reader) add() error {
	g, rec := p.g, &p.rec
	id, err := p.id(rec.hash)
	if err != nil {
		return err
	}
	if g.nodes[id].flags&isEntry != 0 {
		return p.fail("%s is there twice", rec.hash.text())
	}
	if err := p.link(); err != nil {
		return err
	}
	p.put(id)
	return nil
}

// put makes the record that was read an entry.
func (p *reader) put(id uint32) {
	g := p.g
	g.nodes[id] = p.rec.node
	g.order = push(g.order, id, p.hint, p.offset(p.i))
}

// link appends the edges of the record that was read.
func (p *reader) link() error {
	g, rec, at := p.g, &p.rec, p.offset(p.i)
	if len(rec.deps) > math.MaxUint16 {
		return p.fail("%s has %d dependencies", rec.hash.text(), len(rec.deps))
	}
	rec.node.edge, rec.node.edges = uint32(len(g.edges)), uint16(len(rec.deps))
	for _, d := range rec.deps {
		to, err := p.id(d.hash)
		if err != nil {
			return err
		}
		g.edges = push(g.edges, newEdge(to, d.types), p.hint, at)
	}
	return nil
}

// id returns the number of the node with that hash, a new one if need be.
func (p *reader) id(h hash) (uint32, error) {
	g := p.g
	slot := g.table.slot(h, g.hashes)
	if v := g.table.slots[slot]; v != 0 {
		return v - 1, nil
	}
	id, at := len(g.nodes), p.offset(p.i)
	if id > maxID {
		return 0, p.fail("more than %d specs", maxID)
	}
	g.nodes = push(g.nodes, node{}, p.hint, at)
	g.hashes = push(g.hashes, h, p.hint, at)
	g.table.put(slot, g.hashes)
	return uint32(id), nil
}

// push appends v. Where there is no room, it makes enough for what the whole
// file holds if its first read bytes of size are typical: to copy a big array
// costs its memory again, and room that is never used costs none.
func push[T any](list []T, v T, size, read int64) []T {
	if n := len(list); n == cap(list) {
		bigger := make([]T, n, n+room(n, size, read)) // slices.Grow would write to all of it
		copy(bigger, list)
		list = bigger
	}
	return append(list, v)
}

const (
	few     = 1 << 16  // is too few to tell from
	maxSize = 64 << 30 // of an index that anybody has
)

func room(n int, size, read int64) int {
	more := max(n/4, 1024)
	if size <= read || read == 0 || size > maxSize {
		return more
	}
	all := int(1.1 * float64(n) * float64(size) / float64(read))
	if n < few {
		all = min(all, 16*n)
	}
	return max(more, all-n)
}
