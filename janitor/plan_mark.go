package janitor

import (
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// Marks are the specs that stay, each with the first reason that was found: a
// rule, or a spec that needs it.
type marks struct {
	scan   *Scan
	types  buildcache.DepTypes // edges to follow
	marked index.Bits
	rules  []string          // the first one is that of none
	number map[string]uint32 // of a rule in rules
	rule   []uint32          // by spec: its number in rules
	from   []uint32          // by spec: the one that needs it + 1; 0 for what a rule names itself
}

func newMarks(s *Scan, types buildcache.DepTypes) *marks {
	n := s.dag.len()
	return &marks{
		scan: s, types: types | splice, marked: index.NewBits(n), from: make([]uint32, n),
		rules: []string{""}, number: map[string]uint32{}, rule: make([]uint32, n),
	}
}

// keep marks specs and all that they need, nearest first.
func (m *marks) keep(rule string, specs ...id) {
	n, ok := m.number[rule]
	if !ok {
		n = uint32(len(m.rules))
		m.rules, m.number[rule] = append(m.rules, rule), n
	}
	var queue []id
	add := func(at id, from uint32) {
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
		for to, types := range m.scan.dag.edges(queue[i]) {
			if types&m.types != 0 {
				add(to, queue[i]+1)
			}
		}
	}
}

func (m *marks) has(at id) bool { return m.marked.Has(at) }

// chain returns the rule that keeps a spec and the specs by which it leads
// there, the spec itself last.
func (m *marks) chain(at id) (rule string, chain []string) {
	rule = m.rules[m.rule[at]]
	for next := at + 1; next != 0; next = m.from[next-1] {
		chain = append(chain, m.scan.dag.text(next-1))
	}
	slices.Reverse(chain)
	return rule, chain
}

// hashes returns what is marked, externals aside.
func (m *marks) hashes() (all []buildcache.Hash) {
	for at := range m.marked.All() {
		if !m.scan.dag.external(at) {
			all = append(all, m.scan.dag.hash(at))
		}
	}
	return all
}
