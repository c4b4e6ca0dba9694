package janitor

import (
	"iter"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// nextRoom returns the room after a plan, how many specs enter and leave it.
func (p *Plan) nextRoom(now moment, mirror string) (n *room, entered, back int) {
	s, r := p.look.scan, p.room
	var rewritten int64
	for at, e := range r.specs {
		switch {
		case e.run == 0:
		case !p.condemned(id(at)):
			back++
		case p.state[at] == fresh || p.state[at] == refused:
			back++
			for _, o := range s.all(id(at)) {
				rewritten += s.objects.at(o).size
			}
		}
	}
	n = r.next(mirror, p.look.digest, now, rewritten)
	n.tombs = slices.DeleteFunc(n.tombs, func(t tomb) bool { // it was pushed again, and the indexes know
		at, ok := s.dag.lookup(t.hash)
		return ok && s.present.Has(at) && !slices.ContainsFunc(r.takenFrom(t.taken), func(key string) bool { return !s.cachedBy(key, at) })
	})
	run := n.head.Generation
	if len(p.Mend) > 0 { // what is pushed again gets its entries back
		for at := range p.dangling() {
			n.tombs = append(n.tombs, tomb{s.dag.hash(at), n.head.Generation, n.takenSet(s.indexesWith(at))})
		}
	}
	for at, st := range p.state {
		e := entry{}
		if old := r.spec(id(at)); old.taken != 0 && (st == live || st == refused || st == fresh) && s.present.Has(id(at)) {
			n.tombs = append(n.tombs, tomb{s.dag.hash(id(at)), run, old.taken}) // it stays, or waits anew: its entry must come back
		}
		switch st {
		case live, refused:
			continue
		case fresh:
			entered++
			e = entry{digest: s.digest(id(at)), run: run, why: p.why[at], let: p.let}
		default:
			e = r.spec(id(at))
			if e.run == 0 { // nothing waits
				e = entry{digest: s.digest(id(at)), run: run}
			}
			e.why, e.let = p.why[at], e.let || p.let
		}
		if st == due {
			keys := append(s.indexesWith(id(at)), r.takenFrom(e.taken)...)
			slices.Sort(keys)
			e.taken = n.takenSet(slices.Compact(keys))
		}
		n.put(id(at), e)
	}
	for i := range p.lone.All() {
		key := s.objects.key(i)
		switch old := r.lone.get(key); p.loneState(i) {
		case refused:
		case fresh:
			n.lone.add([]byte(key), entry{digest: s.digestOf(i), run: run, why: orphan})
		default:
			if old.run == 0 {
				old = entry{digest: s.digestOf(i), run: run, why: orphan}
			}
			n.lone.add([]byte(key), old)
		}
	}
	return n, entered, back
}

// dangling yields the specs of which indexes have entries, and the cache nothing.
func (p *Plan) dangling() iter.Seq[id] {
	all := index.NewBits(p.look.scan.dag.len())
	for _, x := range p.look.scan.indexes {
		for at := range x.dangling.All() {
			all.Set(at)
		}
	}
	return all.All()
}
