package janitor

import (
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Marks are the specs that stay, each with the first reason that was found: a
// rule, or a spec that needs it.
type marks struct {
	scan   *scan.Scan
	types  buildcache.DepTypes // edges to follow
	marked index.Bits
	rules  []string          // the first one is that of none
	number map[string]uint32 // of a rule in rules
	rule   []uint32          // by spec: its number in rules
	from   []uint32          // by spec: the one that needs it + 1; 0 for what a rule names itself
}

func newMarks(s *scan.Scan, types buildcache.DepTypes) *marks {
	n := s.DAG.Len()
	return &marks{
		scan: s, types: types | dag.Splice, marked: index.NewBits(n), from: make([]uint32, n),
		rules: []string{""}, number: map[string]uint32{}, rule: make([]uint32, n),
	}
}

// keep marks specs and all that they need, nearest first.
func (m *marks) keep(rule string, specs ...dag.ID) {
	n, ok := m.number[rule]
	if !ok {
		n = uint32(len(m.rules))
		m.rules, m.number[rule] = append(m.rules, rule), n
	}
	var queue []dag.ID
	add := func(at dag.ID, from uint32) {
		if !m.marked.Has(at) {
			m.marked.Set(at)
			m.rule[at], m.from[at] = n, from
			queue = append(queue, at)
		}
	}
	for _, at := range specs {
		add(at, 0)
	}
	for i := 0; i < len(queue); i++ {
		for to, types := range m.scan.DAG.Edges(queue[i]) {
			if types&m.types != 0 {
				add(to, queue[i]+1)
			}
		}
	}
}

func (m *marks) has(at dag.ID) bool { return m.marked.Has(at) }

// chain returns the rule that keeps a spec and the specs by which it leads
// there, the spec itself last.
func (m *marks) chain(at dag.ID) (rule string, chain []string) {
	rule = m.rules[m.rule[at]]
	for next := at + 1; next != 0; next = m.from[next-1] {
		chain = append(chain, m.scan.DAG.Text(next-1))
	}
	slices.Reverse(chain)
	return rule, chain
}

// hashes returns what is marked, externals aside.
func (m *marks) hashes() (all []buildcache.Hash) {
	for at := range m.marked.All() {
		if !m.scan.DAG.External(at) {
			all = append(all, m.scan.DAG.Hash(at))
		}
	}
	return all
}
