package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Missing returns those of some packages of the build's lockfile which no build cache would hand
// out: what is there and cannot be trusted is missing, too. Externals never are.
func (b Build) Missing(ctx context.Context, hashes []buildcache.Hash) (missing []buildcache.Hash, err error) {
	l, err := readLock(b.Lock)
	if err != nil {
		return nil, err
	}
	for _, hash := range hashes {
		spec := l.Specs[hash]
		if spec == nil {
			return nil, fmt.Errorf("the lockfile has no %s", hash)
		}
		found, err := b.has(ctx, l, spec)
		if err != nil {
			return nil, fmt.Errorf("build cache: %s: %w", spec, err)
		}
		if !found && !spec.External {
			missing = append(missing, hash)
		}
	}
	return missing, nil
}

func (b Build) has(ctx context.Context, l *lock, spec *buildcache.Spec) (bool, error) {
	for _, m := range b.Mirrors {
		for _, layout := range []int{2, 3} {
			if found, err := m.has(ctx, l, spec, layout); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// has reports whether the build cache has a package that readers of it take.
func (m Mirror) has(ctx context.Context, l *lock, spec *buildcache.Spec, layout int) (bool, error) {
	for _, key := range buildcache.SpecKeys(spec, layout) {
		_, err := m.spec(ctx, l, spec.Hash, key)
		var untrusted *untrustedError
		switch {
		case err == nil:
			return m.hasTarball(ctx, spec, layout)
		case !errors.As(err, &untrusted) && !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	return false, nil
}

// hasTarball guards against a spec file whose tarball is gone. In layout v3 blobs are kept for as
// long as a manifest names them, and a manifest is written after its blobs.
func (m Mirror) hasTarball(ctx context.Context, spec *buildcache.Spec, layout int) (bool, error) {
	if layout == 3 {
		return true, nil
	}
	key := buildcache.TarballKey(spec)
	for o, err := range m.Store.List(ctx, key) {
		if err != nil || o.Key == key {
			return err == nil, err
		}
	}
	return false, nil
}
