package whymiss

import (
	"context"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Date fills in when the nearest specs of the first causes were uploaded, as far as one listing for
// each tells: indexes do not say. What cannot be listed stays without a date.
func (r *Report) Date(ctx context.Context, stores []buildcache.Store, causes int) {
	for i := range r.Causes[:min(causes, len(r.Causes))] {
		c := &r.Causes[i]
		if len(c.Nearest) == 0 {
			continue
		}
		for _, store := range stores {
			if at := uploaded(ctx, store, c.Nearest[0].Found); !at.IsZero() {
				c.Nearest[0].Uploaded = at.UTC().Format(time.DateOnly)
				break
			}
		}
	}
}

// uploaded returns when the manifest or spec file of a spec was written; zero if it is not found
// under the name that Spack gives it.
func uploaded(ctx context.Context, store buildcache.Store, s *buildcache.Spec) time.Time {
	for _, key := range append(buildcache.SpecKeys(s, 3), buildcache.SpecKeys(s, 2)...) {
		for o, err := range store.List(ctx, key) {
			if err == nil && o.Key == key {
				return o.ModTime
			}
			break
		}
	}
	return time.Time{}
}
