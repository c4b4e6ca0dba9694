package index

import (
	"fmt"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// dangling looks for references to nodes that are not there.
func (p *lockReader) dangling() error {
	g := p.g
	if len(g.order) == g.Len() {
		return nil
	}
	for _, id := range g.order {
		for _, e := range g.edgesOf(id) {
			if g.Missing(e.id()) {
				return p.failAt(g.nodes[id].at, "%s needs %s, and no node has that hash", p.text(id), g.Hash(e.id()))
			}
		}
	}
	missing := uint32(slices.IndexFunc(g.nodes, func(n node) bool { return n.flags&isEntry == 0 }))
	return p.wrap(fmt.Errorf("%w: a node that several environments have needs %s, and no node has that hash", buildcache.ErrFormat, g.Hash(missing)))
}

func (p *lockReader) wrap(err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", p.what, err)
	}
	return err
}

// cycle looks for a node that depends on itself. That a spliced one uses the
// binary of another is no dependency.
func (p *lockReader) cycle() error {
	walk := walk{g: p.g, open: NewBits(p.g.Len()), done: NewBits(p.g.Len())}
	for id := range uint32(p.g.Len()) {
		if at, ok := walk.from(id); !ok {
			return p.failAt(p.g.nodes[at].at, "%s depends on itself", p.text(at))
		}
	}
	return nil
}

// A walk goes through a graph depth first. It does not call itself, since
// it is unknown how deep the graph is.
type walk struct {
	g          *Graph
	open, done Bits
	path       []step
}

type step struct {
	id   uint32
	next uint32 // of its edges
}

// from walks to all that a node needs. It stops at one that needs itself.
func (w *walk) from(id uint32) (at uint32, ok bool) {
	w.enter(id)
	for len(w.path) > 0 {
		last := &w.path[len(w.path)-1]
		edges := w.g.edgesOf(last.id)
		if int(last.next) == len(edges) {
			w.leave()
			continue
		}
		e := edges[last.next]
		last.next++
		switch {
		case e.types() == splice:
		case w.open.Has(e.id()):
			return e.id(), false
		default:
			w.enter(e.id())
		}
	}
	return 0, true
}

func (w *walk) enter(id uint32) {
	if !w.done.Has(id) {
		w.open.Set(id)
		w.path = append(w.path, step{id: id})
	}
}

func (w *walk) leave() {
	id := w.path[len(w.path)-1].id
	w.path = w.path[:len(w.path)-1]
	w.open.Clear(id)
	w.done.Set(id)
}
