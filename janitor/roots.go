package janitor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Lock is a lockfile whose specs stay, and where it comes from: a path, or
// the image that it is attached to.
type Lock struct {
	Name string
	File *buildcache.Lockfile
}

// Roots are what must stay, with all that it needs.
type Roots struct {
	Locks []Lock
	Pins  []Pin
}

// A Pin names specs of the cache: a full hash, a prefix of one behind a slash
// or of at least 7 characters, a name, name@version, or name@version/prefix.
type Pin string

// Matches says whether the pin names a spec.
func (p Pin) Matches(name, version string, hash buildcache.Hash) bool {
	text := string(p)
	pinned, at, hasVersion := strings.Cut(text, "@")
	if hasVersion {
		pinned, slash, _ := strings.Cut(pinned, "/")
		at, prefix, hasHash := strings.Cut(strings.TrimPrefix(at, "="), "/")
		return slash == "" && pinned == name && at == version && (!hasHash || strings.HasPrefix(string(hash), prefix))
	}
	if pinned == name {
		return true
	}
	prefix, slash := strings.CutPrefix(text, "/")
	return (slash && prefix != "" || len(prefix) >= 7) && strings.HasPrefix(string(hash), prefix)
}

// match returns the specs of the cache that a pin names. A text that is the
// name of a package is not taken for a hash.
func (s *Scan) match(p Pin) []id {
	var named, found []id
	for at := range s.specs() {
		name := s.dag.name(at)
		if name == string(p) {
			named = append(named, at)
		}
		if p.Matches(name, s.dag.version(at), s.dag.hash(at)) {
			found = append(found, at)
		}
	}
	if named != nil {
		return named
	}
	return found
}

// check refuses roots that say nothing: an empty lockfile makes everything
// look unused, and so do lockfiles of which nothing is in the cache.
func (r Roots) check(s *Scan, noRoots bool) error {
	switch {
	case noRoots && len(r.Locks) > 0:
		return fmt.Errorf("%w: lockfiles are given, and also that there are none", ErrRefused)
	case noRoots:
		return nil
	case len(r.Locks) == 0:
		return fmt.Errorf("%w: no lockfiles, so that nothing says what is needed: give them, or say --no-roots to go by age alone", ErrRefused)
	}
	present := false
	for _, l := range r.Locks {
		if len(l.File.Roots) == 0 || len(l.File.Specs) == 0 {
			return fmt.Errorf("%w: lockfile %s holds no specs: if its environment is gone leave the file out", ErrRefused, l.Name)
		}
		for hash := range l.File.Specs {
			present = present || s.holds(hash)
		}
	}
	if !present && s.present.Count() > 0 {
		return fmt.Errorf("%w: not one spec of the %d lockfiles is in the cache: are they those of another mirror?", ErrRefused, len(r.Locks))
	}
	return nil
}

// learn puts what a lockfile says of its specs into the dag, and returns its
// roots, and all that it needs: all its nodes, or what its roots need by edges
// of some types.
func (l Lock) learn(d *dag, types buildcache.DepTypes) (roots, needed []id) {
	var hashes []buildcache.Hash
	for _, r := range l.File.Roots {
		hashes = append(hashes, r.Hash)
	}
	for _, h := range slices.Sorted(maps.Keys(l.File.Specs)) {
		d.add(l.File.Specs[h], false)
	}
	for _, h := range hashes {
		roots = append(roots, d.intern(h))
	}
	if types == everything {
		for _, h := range slices.Sorted(maps.Keys(l.File.Specs)) {
			needed = append(needed, d.intern(h))
		}
		return roots, needed
	}
	for _, s := range l.File.Closure(hashes, types) {
		needed = append(needed, d.intern(s.Hash), d.intern(s.BinaryHash()))
	}
	return roots, needed
}

// everything is all edges: what a rebuild needs.
const everything = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test
