package index

import (
	"cmp"
	"slices"
)

// An environment is one that a lockfile holds: its own, or one that another
// environment includes.
type environment struct {
	parent   *environment // nil of the lockfile's own
	path     string       // by which the parent includes it
	depth    int
	roots    []root
	included []*environment
}

// A root is looked up only when all nodes are known: room for nodes is made by
// how many there are in how many bytes, and roots stand before them.
type root struct {
	hash hash
	at   int64 // offset behind it
}

// before reports whether e comes before another one of the same lockfile: an
// environment before those that it includes, these by their paths.
func (e *environment) before(other *environment) bool {
	a, b := e, other
	for a.depth > b.depth {
		a = a.parent
	}
	for b.depth > a.depth {
		b = b.parent
	}
	if a == b {
		return e.depth < other.depth
	}
	for a.parent != b.parent {
		a, b = a.parent, b.parent
	}
	return a.path < b.path
}

// roots appends those of an environment and of all that it includes to the
// lock's, but for those that have been seen.
func (p *lockReader) roots(e *environment, seen Bits) error {
	for _, r := range e.roots {
		id, ok := p.g.table.find(r.hash, p.g.hashes)
		if !ok {
			return p.failAt(r.at, "no node has the hash %s of a root", r.hash.text())
		}
		if !seen.Has(id) {
			seen.Set(id)
			p.lock.Roots = append(p.lock.Roots, id)
		}
	}
	slices.SortFunc(e.included, func(a, b *environment) int { return cmp.Compare(a.path, b.path) })
	for _, inner := range e.included {
		if err := p.roots(inner, seen); err != nil {
			return err
		}
	}
	return nil
}

// environment reads one. It is complete if roots and nodes were there.
func (p *lockReader) environment(e *environment) (complete bool, err error) {
	roots, nodes := false, false
	err = p.object(func(key []byte) (bool, error) {
		switch string(key) {
		case "roots":
			roots = true
			return true, p.list(func() error { return p.root(e) })
		case "concrete_specs":
			nodes = true
			return true, p.concreteSpecs(e)
		case "include_concrete":
			return true, p.includeConcrete(e)
		case "_meta":
			if e.parent == nil {
				return true, p.header()
			}
		}
		return false, nil
	})
	return roots && nodes, err
}

// list reads an array that may be longer than the window.
func (p *lockReader) list(element func() error) error {
	if err := p.whole(func() error { return p.enter('[') }); err != nil {
		return err
	}
	for n, more := 0, true; ; n++ {
		err := p.whole(func() (err error) { more, err = p.more(n, ']'); return err })
		if err == nil && more {
			err = element()
		}
		if err != nil || !more {
			return err
		}
	}
}

func (p *lockReader) root(e *environment) error {
	var r root
	found := false
	err := p.object(func(key []byte) (bool, error) {
		if string(key) != "hash" {
			return false, nil
		}
		found = true
		return true, p.whole(func() (err error) { r.hash, err = p.hash(); return err })
	})
	if err == nil && !found {
		err = p.fail("a root has no hash")
	}
	r.at = p.offset(p.i)
	e.roots = append(e.roots, r)
	return err
}

func (p *lockReader) includeConcrete(e *environment) error {
	none := false
	if err := p.whole(func() (err error) { none, err = p.null(); return err }); none || err != nil {
		return err
	}
	return p.object(func(key []byte) (bool, error) {
		inner := &environment{parent: e, path: string(key), depth: e.depth + 1}
		e.included = append(e.included, inner)
		complete, err := p.environment(inner)
		if err == nil && !complete {
			err = p.fail("the included environment %q lacks roots or concrete_specs", inner.path)
		}
		return true, err
	})
}

func (p *lockReader) concreteSpecs(e *environment) error {
	p.envs = append(p.envs, e)
	if err := p.whole(func() error { return p.enter('{') }); err != nil {
		return err
	}
	return p.entries(p.spec, p.add)
}

// A place says in which environments a node stands, by their positions in
// envs, from 1.
type place struct {
	taken uint32 // the one whose node is in the graph: that which comes before the others
	last  uint32 // the last one that was read
}

// add takes the node that was read over, unless another environment has it that
// comes before this one.
func (p *lockReader) add() error {
	id, err := p.id(p.rec.hash)
	if err != nil {
		return err
	}
	if err := p.link(); err != nil { // even if it is not taken: what it names must be there
		return err
	}
	for len(p.places) <= int(id) {
		p.places = push(p.places, place{}, p.hint, p.offset(p.i))
	}
	at, now := &p.places[id], uint32(len(p.envs))
	old := p.g.nodes[id]
	switch {
	case at.last == 0:
		*at = place{taken: now, last: now}
		p.put(id)
		return nil
	case at.last == now:
		return p.fail("%s is there twice", p.rec.hash.text())
	case old.name != p.rec.name || old.version != p.rec.version:
		return p.fail("%s and %s@%s have the same hash", p.text(id), p.g.names.all[p.rec.name], p.g.names.all[p.rec.version])
	}
	at.last = now
	if p.envs[now-1].before(p.envs[at.taken-1]) {
		at.taken, p.g.nodes[id] = now, p.rec.node
	} else {
		p.g.edges = p.g.edges[:p.rec.edge]
	}
	return nil
}

// text names a node as Spack does.
func (p *lockReader) text(id uint32) string {
	return p.g.Name(id) + "@" + p.g.VersionOf(id) + "/" + string(p.g.Hash(id)[:7])
}
