package janitor

import (
	"fmt"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// restrict returns the part of a plan that is still right for what a mirror
// holds now, and a sentence for each thing that stays though the plan has it.
// A plan never grows.
//
// What changed since stays, as somebody pushed it again. What is new stays with
// all that it needs: whoever pushed it may have skipped what was there.
func restrict(p Plan, s *Scan) (Plan, []string) {
	planned := map[string]Deletion{}
	for _, d := range p.Delete {
		planned[d.Key] = d
	}
	known := map[buildcache.Hash]bool{}
	going := map[buildcache.Hash]bool{}
	for _, g := range p.Going {
		known[g.Hash], going[g.Hash] = true, true
	}
	for _, k := range p.Keep {
		known[k.Hash] = true
	}
	var notes []string
	changed, rest := newMarks(s, p.Policy.edges()), newMarks(s, buildcache.Runtime)
	for _, hash := range s.hashes() {
		spec := s.Specs[hash]
		if why := touched(spec, s, planned); going[hash] && why != "" {
			notes = append(notes, fmt.Sprintf("%s stays: %s", spec, why))
			changed.keep("changed", hash)
		} else if !known[hash] {
			changed.keep("new", hash)
		} else if !going[hash] {
			rest.keep("stays", hash)
		}
	}
	for _, g := range p.Going {
		if !changed.has(g.Hash) && !rest.has(g.Hash) {
			continue
		}
		delete(going, g.Hash)
		if r, ok := changed.reason[g.Hash]; ok && r.from != "" {
			_, chain := changed.chain(g.Hash)
			notes = append(notes, fmt.Sprintf("%s@%s/%.7s stays: %s was pushed since and needs it", g.Name, g.Version, g.Hash, chain[0]))
		}
	}
	q := p
	q.Going = slices.DeleteFunc(slices.Clone(p.Going), func(g Going) bool { return !going[g.Hash] })
	used := s.usedBlobs(func(h buildcache.Hash) bool { return going[h] })
	q.Delete = slices.DeleteFunc(slices.Clone(p.Delete), func(d Deletion) bool {
		o := s.Objects[d.Key]
		return o == nil || !d.same(o) || !o.deletable() || d.Hash != "" && !going[d.Hash] || o.Kind == Blob && used[o.Key] || d.Hash == "" && o.Kind == Tarball && s.owned(o)
	})
	return q, notes
}

// touched says how a spec differs from the one that was planned to go.
func touched(spec *Spec, s *Scan, planned map[string]Deletion) string {
	for _, o := range s.objectsOf(spec) {
		d, ok := planned[o.Key]
		switch {
		case !ok && o.Kind != Blob: // a blob that others use was not planned to go
			return "its " + string(o.Kind) + " " + o.Key + " is new"
		case ok && !d.same(o):
			return "its " + string(o.Kind) + " " + o.Key + " was written since"
		}
	}
	return ""
}
