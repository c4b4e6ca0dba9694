package janitor

import (
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Marks are what stays, each with the first reason that was found: a rule, or
// a spec that needs it.
type marks struct {
	scan   *Scan
	lock   *buildcache.Lockfile // asked before the scan for what a spec needs
	types  buildcache.DepTypes  // edges to follow
	reason map[buildcache.Hash]reason
	nodes  map[buildcache.Hash]*buildcache.Spec // those that only lockfiles know
}

type reason struct {
	rule string
	from buildcache.Hash // empty for what the rule names itself
}

func newMarks(s *Scan, types buildcache.DepTypes) *marks {
	return &marks{scan: s, types: types, reason: map[buildcache.Hash]reason{}, nodes: map[buildcache.Hash]*buildcache.Spec{}}
}

// keep marks specs and all that they need, nearest first.
func (m *marks) keep(rule string, hashes ...buildcache.Hash) {
	var queue []buildcache.Hash
	add := func(h, from buildcache.Hash) {
		if _, marked := m.reason[h]; !marked && h != "" {
			m.reason[h] = reason{rule, from}
			queue = append(queue, h)
		}
	}
	for _, h := range hashes {
		add(h, "")
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, n := range m.known(queue[0]) {
			for _, d := range n.Dependencies {
				if d.Types&m.types != 0 {
					add(d.Hash, queue[0])
				}
			}
			add(n.BuildSpec, queue[0])
		}
	}
}

// keepLock marks what a lockfile needs.
func (m *marks) keepLock(l Lock) {
	m.lock = l.File
	defer func() { m.lock = nil }()
	roots, all := l.needed(m.types)
	m.keep("lock "+l.Name, roots...)
	m.keep("lock "+l.Name, all...)
}

// known returns what is known of a spec: by the lockfile, by the cache, or by
// both.
func (m *marks) known(h buildcache.Hash) []*buildcache.Spec {
	var found []*buildcache.Spec
	if m.lock != nil {
		if s := m.lock.Specs[h]; s != nil {
			m.nodes[h] = s
			found = append(found, s)
		}
	}
	if s := m.scan.Nodes[h]; s != nil {
		found = append(found, s)
	}
	return found
}

func (m *marks) has(h buildcache.Hash) bool {
	_, ok := m.reason[h]
	return ok
}

// chain returns the rule that keeps a spec and the specs by which it leads
// there, the spec itself last.
func (m *marks) chain(h buildcache.Hash) (rule string, chain []string) {
	for h != "" {
		r := m.reason[h]
		rule, chain, h = r.rule, append(chain, m.name(h)), r.from
	}
	slices.Reverse(chain)
	return rule, chain
}

func (m *marks) name(h buildcache.Hash) string {
	if s := m.scan.Nodes[h]; s != nil {
		return s.String()
	}
	if s := m.nodes[h]; s != nil {
		return s.String()
	}
	return "/" + string(h[:min(7, len(h))])
}
