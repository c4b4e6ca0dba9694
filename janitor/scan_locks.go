package janitor

import "iter"

// held yields the specs of a lockfile that are in the cache, by their numbers
// in the lockfile.
func (s *Scan) held(l Lock) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, i := range l.lock.Entries() {
			if at, ok := s.dag.find(l.lock.Graph, i); ok && s.present.Has(at) && !yield(i) {
				return
			}
		}
	}
}

// absent returns the specs of a lockfile that could be in the cache and are not.
func (s *Scan) absent(l Lock) (absent []uint32) {
	for _, i := range l.lock.Entries() {
		if at, ok := s.dag.find(l.lock.Graph, i); !l.lock.External(i) && !(ok && s.present.Has(at)) {
			absent = append(absent, i)
		}
	}
	return absent
}
