package targets

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/publish"
)

// addDiffs adds to containers that are to be built what changes from those that are published: under
// their version, or else under latest. That is for people: where it cannot be told, it is said, and
// the plan is the same.
func (a *app) addDiffs(ctx context.Context, containers []pipeline.Container, prefix *string) error {
	in, ok := a.releaseRegistry(prefix)
	if !ok {
		return nil
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(client.Parallel())
	for i := range containers {
		c := &containers[i]
		if c.UpToDate || c.Lock == nil {
			continue
		}
		group.Go(func() error {
			repository, err := in.Repository(c.Name)
			if err != nil {
				return err
			}
			versions, err := publish.Ref{Branch: "release", Default: "release"}.Tags(c.Version)
			if err == nil {
				var tags []name.Tag
				for _, v := range versions {
					tags = append(tags, repository.Tag(v))
				}
				c.Diff, err = inspect.Upcoming(gctx, client, tags, c.Platform, c.Lock)
			}
			if err != nil && gctx.Err() == nil {
				a.Log.Warn("which packages change is not known", "container", c.Name, "platform", c.Platform, "why", err)
			}
			return gctx.Err()
		})
	}
	return group.Wait()
}
