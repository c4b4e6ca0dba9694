package janitor

import (
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// spread adds the dependents of what goes, by link and run edges; may filters
// them.
func (p *Plan) spread(queue []id, may func(id) bool) {
	dependents := p.look.scan.dag.turned(buildcache.Runtime | splice)
	seen := index.NewBits(p.look.scan.dag.len())
	for _, at := range queue {
		seen.Set(at)
	}
	for i := 0; i < len(queue); i++ {
		for _, d := range dependents.of(queue[i]) {
			if seen.Has(d) || !may(d) {
				continue
			}
			seen.Set(d)
			queue = append(queue, d)
			if p.why[d] == 0 && p.look.scan.present.Has(d) {
				p.why[d], p.needs[d] = dependent, queue[i]
			}
		}
	}
}

// turned returns the dependents of each spec by edges of some types, those
// that are not in the cache too.
func (d *dag) turned(types buildcache.DepTypes) lists {
	l := lists{start: make([]uint32, d.len()+1)}
	for i := range d.len() {
		for to, t := range d.edges(id(i)) {
			if t&types != 0 {
				l.start[to+1]++
			}
		}
	}
	for i := range d.len() {
		l.start[i+1] += l.start[i]
	}
	l.all = make([]uint32, l.start[d.len()])
	next := slices.Clone(l.start)
	for i := range d.len() {
		for to, t := range d.edges(id(i)) {
			if t&types != 0 {
				l.all[next[to]] = id(i)
				next[to]++
			}
		}
	}
	return l
}
