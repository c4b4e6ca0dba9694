// Package rootset reads what must stay: lockfiles, pins, and the root sets that those who share a
// mirror leave in it.
package rootset

import (
	"bytes"
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
	File *index.Lock
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

// Needs yields what the roots of a lockfile need, as it has them.
func (l Lock) Needs(types buildcache.DepTypes) iter.Seq[uint32] {
	if types == Everything {
		return slices.Values(l.File.Entries())
	}
	return l.File.Mark(l.File.Roots, types).All()
}

// Everything is all edges: what a rebuild needs.
const Everything = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test
