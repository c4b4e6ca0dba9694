package janitor

import (
	"fmt"
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
func (p Pin) Matches(s *buildcache.Spec) bool {
	text := string(p)
	name, version, hasVersion := strings.Cut(text, "@")
	if hasVersion {
		name, hash, _ := strings.Cut(name, "/")
		version, suffix, hasHash := strings.Cut(strings.TrimPrefix(version, "="), "/")
		return hash == "" && name == s.Name && version == s.Version && (!hasHash || strings.HasPrefix(string(s.Hash), suffix))
	}
	if name == s.Name {
		return true
	}
	hash, slash := strings.CutPrefix(text, "/")
	return (slash && hash != "" || len(hash) >= 7) && strings.HasPrefix(string(s.Hash), hash)
}

// match returns the specs of the cache that a pin names, by hash. A text that
// is the name of a package is not taken for a hash.
func (s *Scan) match(p Pin) []*Spec {
	var named, found []*Spec
	for _, hash := range s.hashes() {
		spec := s.Specs[hash]
		if spec.Name == string(p) {
			named = append(named, spec)
		}
		if p.Matches(spec.Spec) {
			found = append(found, spec)
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
			present = present || s.Specs[hash] != nil
		}
	}
	if !present && len(s.Specs) > 0 {
		return fmt.Errorf("%w: not one spec of the %d lockfiles is in the cache: are they those of another mirror?", ErrRefused, len(r.Locks))
	}
	return nil
}

// needed returns what a lockfile needs, and roots first: all its nodes, or
// what its roots need by edges of some types.
func (l Lock) needed(types buildcache.DepTypes) (roots, all []buildcache.Hash) {
	seen := map[buildcache.Hash]bool{}
	for _, r := range l.File.Roots {
		if !seen[r.Hash] {
			seen[r.Hash] = true
			roots = append(roots, r.Hash)
		}
	}
	if types == everything {
		for hash := range l.File.Specs {
			all = append(all, hash)
		}
		slices.Sort(all)
		return roots, all
	}
	for _, s := range l.File.Closure(roots, types) {
		all = append(all, s.Hash, s.BinaryHash())
	}
	return roots, all
}

// everything is all edges: what a rebuild needs.
const everything = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test
