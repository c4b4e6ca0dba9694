package janitor

import (
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
