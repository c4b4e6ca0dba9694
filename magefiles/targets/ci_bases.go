package targets

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/podman"
)

// plannedBases says of the base images for some platforms whether the registry has them; none where
// pipelines are to publish none.
func (a *app) plannedBases(ctx context.Context, platforms map[string]bool, prefix *string) ([]pipeline.Base, error) {
	in, ok := a.releaseRegistry(prefix)
	if !a.config.CI.Bases || !ok {
		return nil, nil
	}
	planner, err := a.planner(prefix)
	if err != nil {
		return nil, err
	}
	uses := map[string][]pipeline.Kind{
		podman.Builder: {pipeline.Concretization, pipeline.Package, pipeline.Image},
		podman.Runtime: {pipeline.Image},
	}
	var bases []pipeline.Base
	var wanted []podman.Base
	for _, platform := range slices.Sorted(maps.Keys(platforms)) {
		for _, b := range planner.Bases[platform] {
			if kinds := uses[b.Name]; kinds != nil {
				wanted, bases = append(wanted, b), append(bases, pipeline.Base{Name: b.Name, Platform: platform, For: kinds})
			}
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	for i, b := range wanted {
		group.Go(func() error {
			pinned, key, err := b.Pin(gctx, planner.Podman)
			if err != nil {
				return err
			}
			found, err := a.findBase(gctx, in, pinned, key)
			if err != nil {
				return fmt.Errorf("base image %s for %s: %w", b.Name, b.Platform, err)
			}
			bases[i].UpToDate = found != nil
			bases[i].Why = []string{"the registry does not have it"}
			return nil
		})
	}
	return bases, group.Wait()
}
