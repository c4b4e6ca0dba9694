package janitor

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A Lock is a lockfile whose specs stay, and where it comes from: a path, or
// the image that it is attached to.
type Lock struct {
	Name string
	lock *index.Lock
	open func() (io.ReadCloser, error)
}

// ReadLock reads a lockfile. open may be called again later, for what is not
// kept of it.
func ReadLock(name string, open func() (io.ReadCloser, error)) (Lock, error) {
	body, err := open()
	if err != nil {
		return Lock{}, err
	}
	defer body.Close()
	lock, err := index.ReadLock(body, 0)
	return Lock{name, lock, open}, err
}

// ParseLock reads a lockfile that is there as a whole.
func ParseLock(name string, text []byte) (Lock, error) {
	return ReadLock(name, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
}

// Full reads all that a lockfile says.
func (l Lock) Full() (*buildcache.Lockfile, error) {
	body, err := l.open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	return buildcache.ParseLockfile(text)
}

// Roots are what must stay, with all that it needs.
type Roots struct {
	Locks []Lock
	Pins  []Pin

	// Unknown says of which roots it is not known what they need, such as a
	// definition without a lockfile. Then nothing is condemned or deleted.
	Unknown []string
}

// A Pin names specs of the cache: a full hash, a prefix of one behind a slash
// or of at least 7 characters, a name, name@version, or name@version/prefix.
type Pin string

// Matches reports whether the pin names a spec.
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

// match returns the specs of the cache that a pin names.
func (s *Scan) match(p Pin) []id {
	return Pinned(p, s.specs(), func(at id) (name, version string, hash buildcache.Hash) {
		return s.dag.name(at), s.dag.version(at), s.dag.hash(at)
	})
}

// Pinned returns which of some specs a pin names. A text that is the name of a package is not taken
// for a hash.
func Pinned[T any](p Pin, specs iter.Seq[T], of func(T) (name, version string, hash buildcache.Hash)) []T {
	var named, found []T
	for s := range specs {
		name, version, hash := of(s)
		if name == string(p) {
			named = append(named, s)
		}
		if p.Matches(name, version, hash) {
			found = append(found, s)
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
	case len(r.Locks) == 0 && len(r.Unknown) > 0:
		return nil // nothing is condemned, and the plan says why
	case len(r.Locks) == 0:
		return fmt.Errorf("%w: no lockfiles, so that nothing says what is needed: give them, or say --no-roots to go by age alone", ErrRefused)
	}
	present := false
	for _, l := range r.Locks {
		if len(l.lock.Roots) == 0 {
			return fmt.Errorf("%w: lockfile %s holds no specs: if its environment is gone leave the file out", ErrRefused, l.Name)
		}
		for range s.held(l) {
			present = true
			break
		}
	}
	if !present && s.present.Count() > 0 {
		return fmt.Errorf("%w: not one spec of the %d lockfiles is in the cache: are they those of another mirror?", ErrRefused, len(r.Locks))
	}
	return nil
}

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

// learn puts what a lockfile says of its specs into the dag, and returns its
// roots, and all that it needs: all its nodes, or what its roots need by edges
// of some types.
func (l Lock) learn(d *dag, types buildcache.DepTypes) (roots, needed []id) {
	ids := d.addGraph(l.lock.Graph, false)
	for _, i := range l.lock.Roots {
		roots = append(roots, ids[i])
	}
	for i := range l.needs(types) {
		needed = append(needed, ids[i])
	}
	return roots, needed
}

// needs yields what the roots of a lockfile need, as it has them.
func (l Lock) needs(types buildcache.DepTypes) iter.Seq[uint32] {
	if types == everything {
		return slices.Values(l.lock.Entries())
	}
	return l.lock.Mark(l.lock.Roots, types).All()
}

// everything is all edges: what a rebuild needs.
const everything = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test
