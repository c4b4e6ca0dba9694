package targets

import (
	"cmp"
	"context"
	"os"
	"strconv"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// announceFor is how long a build cache may take to be told. A build does not
// fail for it.
const announceFor = time.Minute

// announceBuild tells those of a build's own build caches.
func (a *app) announceBuild(ctx context.Context, c podman.Container) {
	for _, m := range c.Offer.Mirrors {
		a.announce(ctx, c.Container, m.Store)
	}
}

// announce tells the janitors of some build caches what a build relies on, before
// it does. Where none works nothing is written. Where that may not be written,
// such as by branches or in a cache that everybody may only read, the build goes
// on: it is as safe as Spack by itself.
func (a *app) announce(ctx context.Context, c container.Container, caches ...buildcache.Store) {
	if c.Lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, announceFor)
	defer cancel()
	var specs []buildcache.Hash
	for _, spec := range c.Lock.Specs {
		if !spec.External {
			specs = append(specs, spec.BinaryHash())
		}
	}
	for _, cache := range caches {
		store, ok := cache.(janitor.Store)
		if has, err := janitor.HasJanitor(ctx, cache); !ok || err == nil && !has {
			continue
		}
		if _, err := (janitor.Janitor{Store: store, Owner: a.owner()}).Announce(ctx, "build of "+c.Name+" for "+c.Platform, specs); err != nil {
			a.Log.Info("not announced to the build cache's janitor", "container", c.Name, "why", err)
		}
	}
}

// owner is for people who find what this process has written into a build cache.
func (a *app) owner() string {
	host, _ := os.Hostname()
	return cmp.Or(a.env.User, "unknown") + "@" + host + ":" + strconv.Itoa(os.Getpid())
}
