package assemble

import (
	"fmt"
	"sync"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// prefixes collects where the packages of an image lie and where they look
// for each other. Programs and libraries have these paths in them, and only
// Spack can rewrite those: a cache that holds builds for several install trees
// is refused.
type prefixes struct {
	mu   sync.Mutex
	told map[buildcache.Hash]told
}

// told is what the first package that knows it says of another's prefix.
type told struct {
	prefix string
	by     *buildcache.Spec
}

func newPrefixes(specs []*buildcache.Spec) *prefixes {
	p := &prefixes{told: map[buildcache.Hash]told{}}
	for _, spec := range specs {
		p.told[spec.BinaryHash()] = told{}
	}
	return p
}

// add takes what a package's tarball says, and forgets what is not about this
// image. It may be called from several goroutines.
func (p *prefixes) add(spec *buildcache.Spec, c contents) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.addOne(spec.BinaryHash(), told{c.Prefix, spec}); err != nil {
		return err
	}
	for hash, prefix := range c.Prefixes {
		if err := p.addOne(hash, told{prefix, spec}); err != nil {
			return err
		}
	}
	return nil
}

func (p *prefixes) addOne(hash buildcache.Hash, t told) error {
	before, ok := p.told[hash]
	switch {
	case !ok: // no package of this image
	case before.by == nil:
		p.told[hash] = t
	case before.prefix != t.prefix:
		return fmt.Errorf("/%s is at %s for %s, and at %s for %s: this cache holds builds for several install trees; install from it with Spack, which relocates",
			hash[:7], before.prefix, before.by, t.prefix, t.by)
	}
	return nil
}
