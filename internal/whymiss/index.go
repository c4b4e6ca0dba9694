package whymiss

import (
	"context"
	"errors"
	"fmt"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// ErrNoIndex is that a build cache has none, so that nothing can be said of what it holds.
var ErrNoIndex = errors.New("the build cache has no index")

// An Index is what build caches hold, as their indexes say. It belongs to one goroutine; Close it.
type Index struct {
	kept  []index.Kept
	named map[string][]*buildcache.Spec // those that were read
	known map[buildcache.Hash]bool      // by NewIndex: entries; true if cached
	specs map[string][]*buildcache.Spec // by NewIndex: all of a name
	read  map[buildcache.Hash]*buildcache.Spec
}

// NewIndex makes an index of specs that are cached.
func NewIndex(cached []*buildcache.Spec) *Index {
	x := newIndex()
	for _, s := range cached {
		if !x.known[s.Hash] && !s.External {
			x.known[s.Hash] = true
			x.specs[s.Name] = append(x.specs[s.Name], s)
		}
	}
	return x
}

func newIndex() *Index {
	return &Index{named: map[string][]*buildcache.Spec{}, known: map[buildcache.Hash]bool{},
		specs: map[string][]*buildcache.Spec{}, read: map[buildcache.Hash]*buildcache.Spec{}}
}

// Read reads the indexes of build caches. A cache without any is ErrNoIndex. What indexes do not
// list counts as missing: Spack itself would find it all the same.
func Read(ctx context.Context, stores ...buildcache.Store) (*Index, error) {
	x := newIndex()
	for _, store := range stores {
		kept, err := index.ReadKept(ctx, store)
		x.kept = append(x.kept, kept...)
		if err == nil && len(kept) == 0 {
			err = fmt.Errorf("%w: make one with mage janitor:reindex or spack buildcache update-index", ErrNoIndex)
		}
		if err != nil {
			x.Close()
			return nil, err
		}
	}
	return x, nil
}

// Close gives the texts of the indexes back.
func (x *Index) Close() {
	for _, k := range x.kept {
		k.Close()
	}
	x.kept = nil
}

// Has reports whether a cache holds the binary of a spec.
func (x *Index) Has(h buildcache.Hash) bool {
	for _, k := range x.kept {
		if at, ok := k.Lookup(h); ok && k.InCache(at) {
			return true
		}
	}
	return x.known[h]
}

// Knows reports whether an index has the spec as an entry, cached or not.
func (x *Index) Knows(h buildcache.Hash) bool {
	for _, k := range x.kept {
		if at, ok := k.Lookup(h); ok && !k.Missing(at) && !k.External(at) {
			return true
		}
	}
	_, ok := x.known[h]
	return ok
}

// Named returns the specs of a package that are cached, in the order of the indexes.
func (x *Index) Named(name string) ([]*buildcache.Spec, error) {
	if found, ok := x.named[name]; ok {
		return found, nil
	}
	found := x.specs[name]
	for _, k := range x.kept {
		for _, at := range k.Entries() {
			if k.Name(at) != name || !k.InCache(at) || x.read[k.Hash(at)] != nil {
				continue
			}
			s, err := k.Spec(at)
			if err != nil {
				return nil, err
			}
			x.read[s.Hash] = s
			found = append(found, s)
		}
	}
	x.named[name] = found
	return found, nil
}

// text returns name@version/hash of a spec if an index has it, cached or external, else "".
func (x *Index) text(h buildcache.Hash, name string) string {
	for _, s := range x.specs[name] {
		if s.Hash == h {
			return s.String()
		}
	}
	for _, k := range x.kept {
		if at, ok := k.Lookup(h); ok && !k.Missing(at) {
			s := buildcache.Spec{Name: k.Name(at), Version: k.VersionOf(at), Hash: h}
			return s.String()
		}
	}
	return ""
}
