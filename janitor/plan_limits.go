package janitor

import "github.com/openbraininstitute/spacktainers/janitor/dag"

// Limits are what a plan allows a later one: no more may be condemned, and no
// more deleted. The zero value allows anything.
type limits struct {
	spec func(at dag.ID, due bool) bool
	key  func(key string, due bool) bool
}

func (l limits) allows(at dag.ID, due bool) bool   { return l.spec == nil || l.spec(at, due) }
func (l limits) allowsKey(k string, due bool) bool { return l.key == nil || l.key(k, due) }

// allowed is what a plan allows when it is applied, by the same dag.
func (p *Plan) allowed() limits {
	return limits{
		spec: func(at dag.ID, isDue bool) bool {
			return int(at) < len(p.state) && (p.state[at] == due || !isDue && p.state[at] != live)
		},
		key: func(key string, isDue bool) bool {
			i, ok := p.look.scan.Objects.Find(key)
			return ok && p.lone.Has(i) && (p.objects.Has(i) || !isDue)
		},
	}
}
