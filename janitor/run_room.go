package janitor

import (
	"iter"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
)

// nextRoom returns the room after a plan, how many specs enter and leave it.
func (p *Plan) nextRoom(now clock.Moment, mirror string) (n *room.Room, entered, back int) {
	s, r := p.look.scan, p.room
	var rewritten int64
	for at, e := range r.Specs {
		switch {
		case e.Run == 0 || p.leaves(dag.ID(at)):
		case !p.condemned(dag.ID(at)):
			back++
		case p.state[at] == fresh || p.state[at] == refused:
			back++
			for _, o := range s.All(dag.ID(at)) {
				rewritten += s.Objects.At(o).Size
			}
		}
	}
	n = r.Next(mirror, p.look.digest, now, rewritten)
	n.Tombs = slices.DeleteFunc(n.Tombs, func(t room.Tomb) bool {
		if at, ok := s.DAG.Lookup(t.Hash); ok && s.Present.Has(at) { // until the indexes know, however long ago the last run was
			return !slices.ContainsFunc(r.TakenFrom(t.Taken), func(key string) bool { return !s.CachedBy(key, at) })
		}
		when, ok := r.When(t.Run)
		return !ok || now.Since(when) >= room.TombsFor
	})
	run := n.Head.Generation
	if len(p.Mend) > 0 { // what is pushed again gets its entries back
		for at := range p.dangling() {
			n.Tombs = append(n.Tombs, room.Tomb{Hash: s.DAG.Hash(at), Run: n.Head.Generation, Taken: n.TakenSet(s.IndexesWith(at))})
		}
	}
	for at, st := range p.state {
		if p.leaves(dag.ID(at)) {
			n.Put(dag.ID(at), r.Spec(dag.ID(at)))
			continue
		}
		e := room.Entry{}
		if old := r.Spec(dag.ID(at)); old.Taken != 0 && (st == live || st == refused || st == fresh) && s.Present.Has(dag.ID(at)) {
			n.Tombs = append(n.Tombs, room.Tomb{Hash: s.DAG.Hash(dag.ID(at)), Run: run, Taken: old.Taken}) // it stays, or waits anew: its entry must come back
		}
		switch st {
		case live, refused:
			continue
		case fresh:
			entered++
			e = room.Entry{Digest: s.Digest(dag.ID(at)), Run: run, Why: p.why[at], Let: p.let}
		default:
			e = r.Spec(dag.ID(at))
			if e.Run == 0 { // nothing waits
				e = room.Entry{Digest: s.Digest(dag.ID(at)), Run: run}
			}
			e.Why, e.Let = p.why[at], e.Let || p.let
		}
		if st == due {
			keys := append(s.IndexesWith(dag.ID(at)), r.TakenFrom(e.Taken)...)
			slices.Sort(keys)
			e.Taken = n.TakenSet(slices.Compact(keys))
		}
		n.Put(dag.ID(at), e)
	}
	if p.purge != nil {
		n.Lone = r.Lone
	}
	for i := range p.lone.All() {
		key := s.Objects.Key(i)
		switch old := r.Lone.Get(key); p.loneState(i) {
		case refused:
		case fresh:
			n.Lone.Add([]byte(key), room.Entry{Digest: s.DigestOf(i), Run: run, Why: room.Orphan})
		default:
			if old.Run == 0 {
				old = room.Entry{Digest: s.DigestOf(i), Run: run, Why: room.Orphan}
			}
			n.Lone.Add([]byte(key), old)
		}
	}
	return n, entered, back
}

// leaves reports whether a spec is none of a purge's business: it waits on, unless a root needs it.
func (p *Plan) leaves(at dag.ID) bool {
	return p.purge != nil && !p.condemned(at) && !p.marks.has(at)
}

// dangling yields the specs of which indexes have entries, and the cache nothing.
func (p *Plan) dangling() iter.Seq[dag.ID] {
	all := index.NewBits(p.look.scan.DAG.Len())
	for _, x := range p.look.scan.Indexes {
		for at := range x.Dangling.All() {
			all.Set(at)
		}
	}
	return all.All()
}
