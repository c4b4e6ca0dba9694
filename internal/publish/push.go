package publish

import (
	"context"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Apply carries a plan out: blobs, then manifests from the leaves to the
// index, then signatures, then tags. Broken off anywhere, it has tagged
// nothing that is not whole, and the next plan holds the rest.
func (plan Plan) Apply(ctx context.Context, c *registry.Client) error {
	if plan.Empty() {
		return nil
	}
	if err := c.EnsureRepository(ctx, plan.Repository); err != nil {
		return err
	}
	if err := c.Upload(ctx, plan.Repository, plan.base, plan.Blobs); err != nil {
		return err
	}
	for _, m := range plan.manifests {
		if err := c.Put(ctx, plan.Repository.Digest(m.Digest.String()), m); err != nil {
			return err
		}
	}
	for _, subject := range plan.sign {
		if err := attest.Sign(ctx, c, plan.Repository, subject, plan.signer); err != nil {
			return err
		}
	}
	for _, tag := range plan.Tags {
		if err := c.Put(ctx, plan.Repository.Tag(tag.Name), tag.target); err != nil {
			return err
		}
	}
	return nil
}
