package janitor

import (
	"fmt"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// match returns the specs of the cache that a pin names.
func match(s *scan.Scan, p rootset.Pin) []dag.ID {
	return rootset.Pinned(p, s.InCache(), func(at dag.ID) (name, version string, hash buildcache.Hash) {
		return s.DAG.Name(at), s.DAG.Version(at), s.DAG.Hash(at)
	})
}

// checkRoots refuses roots that say nothing: an empty lockfile makes everything
// look unused, and so do lockfiles of which nothing is in the cache.
func checkRoots(s *scan.Scan, r rootset.Roots, noRoots bool) error {
	switch {
	case noRoots && len(r.Locks) > 0:
		return fmt.Errorf("%w: lockfiles are given, and also that there are none", ErrRefused)
	case noRoots:
		return nil
	case len(r.Locks) == 0 && len(r.Unknown) > 0:
		return nil // nothing is condemned, and the plan says why
	case len(r.Locks) == 0:
		return fmt.Errorf("%w: no lockfiles, so that nothing says what is needed: give them, or say --no-roots to go by age alone", ErrRefused)
	}
	present := false
	for _, l := range r.Locks {
		if len(l.File.Roots) == 0 {
			return fmt.Errorf("%w: lockfile %s holds no specs: if its environment is gone leave the file out", ErrRefused, l.Name)
		}
		for range s.Held(l) {
			present = true
			break
		}
	}
	if !present && s.Present.Count() > 0 {
		return fmt.Errorf("%w: not one spec of the %d lockfiles is in the cache: are they those of another mirror?", ErrRefused, len(r.Locks))
	}
	return nil
}

// learn puts what a lockfile says of its specs into the dag, and returns its
// roots, and all that it needs: all its nodes, or what its roots need by edges
// of some types.
func learn(d *dag.DAG, l rootset.Lock, types buildcache.DepTypes) (roots, needed []dag.ID) {
	ids := d.AddGraph(l.File.Graph, false)
	for _, i := range l.File.Roots {
		roots = append(roots, ids[i])
	}
	for i := range l.Needs(types) {
		needed = append(needed, ids[i])
	}
	return roots, needed
}
