package targets

import (
	"context"
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/whymiss"
)

// addCauses adds to the reasons of containers that are to be built what their
// packages miss for in the build caches of their platforms.
func (a *app) addCauses(ctx context.Context, containers []pipeline.Container, mirror *string, isRelease bool) error {
	indexes := map[string]*whymiss.Index{} // by platform
	defer func() {
		for _, x := range indexes {
			x.Close()
		}
	}()
	for i := range containers {
		c := &containers[i]
		if c.UpToDate || c.Lock == nil {
			continue
		}
		cached := indexes[c.Platform]
		if cached == nil {
			var err error
			if cached, err = a.cachedSpecs(ctx, a.readMirrors(or(mirror, a.config.Platforms[c.Platform].Mirror), isRelease)); err != nil {
				return err
			}
			indexes[c.Platform] = cached
		}
		report, err := whymiss.Explain(c.Lock, cached)
		if err != nil {
			return fmt.Errorf("%s for %s: %w", c.Name, c.Platform, err)
		}
		for _, cause := range report.Causes {
			c.Why = append(c.Why, cause.String())
		}
	}
	return nil
}

// cachedSpecs reads the indexes of those build caches that can be read.
func (a *app) cachedSpecs(ctx context.Context, urls []string) (*whymiss.Index, error) {
	var stores []buildcache.Store
	for _, url := range urls {
		store, err := a.readable(ctx, url)
		if err != nil {
			return nil, err
		}
		if store != nil {
			stores = append(stores, store)
		}
	}
	cached, err := whymiss.Read(ctx, stores...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(urls, ", "), err)
	}
	return cached, nil
}
