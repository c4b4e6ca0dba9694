package janitor

import (
	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
)

// spread adds the dependents of what goes, by link and run edges; may filters
// them.
func (p *Plan) spread(queue []dag.ID, may func(dag.ID) bool) {
	dependents := p.look.scan.DAG.Turned(buildcache.Runtime | dag.Splice)
	seen := index.NewBits(p.look.scan.DAG.Len())
	for _, at := range queue {
		seen.Set(at)
	}
	for i := 0; i < len(queue); i++ {
		for _, d := range dependents.Of(queue[i]) {
			if seen.Has(d) || !may(d) {
				continue
			}
			seen.Set(d)
			queue = append(queue, d)
			if p.why[d] == 0 && p.look.scan.Present.Has(d) {
				p.why[d], p.needs[d] = room.Dependent, queue[i]
			}
		}
	}
}
