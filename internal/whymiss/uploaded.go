package whymiss

import (
	"context"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Date fills in when the nearest specs of the first causes were uploaded, as far as one listing for
// each tells: indexes do not say. What cannot be listed stays without a date.
func (r *Report) Date(ctx context.Context, stores []buildcache.Store, causes int) {
	d := dates{stores: stores, left: causes}
	d.fill(ctx, r.Causes)
}

// dates finds out when specs were uploaded, each once.
type dates struct {
	stores []buildcache.Store
	left   int                        // specs that may be looked up
	known  map[buildcache.Hash]string // YYYY-MM-DD
}

func (d *dates) fill(ctx context.Context, causes []Cause) {
	for _, c := range causes {
		if len(c.Nearest) > 0 {
			c.Nearest[0].Uploaded = d.of(ctx, c.Nearest[0].Found)
		}
	}
}

func (d *dates) of(ctx context.Context, s *buildcache.Spec) string {
	date, found := d.known[s.Hash]
	if found || d.left == 0 {
		return date
	}
	d.left--
	for _, store := range d.stores {
		if at := uploaded(ctx, store, s); !at.IsZero() {
			date = at.UTC().Format(time.DateOnly)
			break
		}
	}
	if d.known == nil {
		d.known = map[buildcache.Hash]string{}
	}
	d.known[s.Hash] = date
	return date
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
