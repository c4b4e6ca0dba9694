package targets

import (
	"context"
	"fmt"

	"github.com/openbraininstitute/spacktainers/internal/publish"
)

// Promote copies what a tag leads to from one environment's registry to those
// of another, by digest: index, images, what is attached to them, signatures.
func (Publish) Promote(ctx context.Context, name string,
	from *string, // the environment to take it from, such as staging
	to *string, // the environment to bring it to, such as production
	tag *string, // to promote (default: latest, and the version with it)
	force *bool, // replace a version that is another build there
	dryRun *bool, // --dry-run: say what would be copied, and copy nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	if from == nil || to == nil {
		return wrongCall("which way? mage publish:promote %s --from=staging --to=production", name)
	}
	sources, err := a.registries(nil, from)
	if err != nil {
		return err
	}
	targets, err := a.registries(nil, to)
	if err != nil {
		return err
	}
	verifier, err := a.releaseVerifier()
	if err != nil {
		return err
	}
	container := a.definedName(name)
	source, err := sources[0].Repository(container)
	if err != nil {
		return err
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	results := []publishedContainer{}
	for _, registry := range targets {
		target, err := registry.Repository(container)
		if err != nil {
			return err
		}
		if target.String() == source.String() {
			continue // it serves both environments
		}
		promotion, err := publish.NewPromotion(ctx, client, source.Tag(or(tag, publish.Latest)), target, or(force, false), verifier)
		if err != nil {
			return fmt.Errorf("promote %s: %w", container, err)
		}
		result := publishedContainer{Container: container, Ref: target.Tag(or(tag, publish.Latest)).String(), Digest: promotion.Digest.String(),
			Tags: []string{}, Blobs: len(promotion.Blobs), Bytes: promotion.Bytes(), State: "unchanged"}
		for _, t := range promotion.Tags {
			result.Tags = append(result.Tags, t.Name)
		}
		switch {
		case or(dryRun, false) && !promotion.Empty():
			result.State = "would promote"
		case !or(dryRun, false):
			if err := promotion.Apply(ctx, client); err != nil {
				return fmt.Errorf("promote %s: %w", container, err)
			}
			if !promotion.Empty() {
				result.State = "promoted"
			}
		}
		results = append(results, result)
	}
	if len(results) == 0 {
		return fmt.Errorf("promote %s: every registry of %s is that of %s: give them environments of their own in %s", container, *to, *from, ConfigFile)
	}
	end()
	return a.showPublished(results, or(json, false))
}
