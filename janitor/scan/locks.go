package scan

import (
	"iter"

	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// Held yields the specs of a lockfile that are in the cache, by their numbers
// in the lockfile.
func (s *Scan) Held(l rootset.Lock) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, i := range l.File.Entries() {
			if at, ok := s.DAG.Find(l.File.Graph, i); ok && s.Present.Has(at) && !yield(i) {
				return
			}
		}
	}
}

// Absent returns the specs of a lockfile that could be in the cache and are not.
func (s *Scan) Absent(l rootset.Lock) (absent []uint32) {
	for _, i := range l.File.Entries() {
		if at, ok := s.DAG.Find(l.File.Graph, i); !l.File.External(i) && !(ok && s.Present.Has(at)) {
			absent = append(absent, i)
		}
	}
	return absent
}
