package publish

import (
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// planSignatures finds what the signer has not signed yet: the target and, in
// an index, each image, since some pull those by digest.
func planSignatures(ctx context.Context, c *registry.Client, plan *Plan, target registry.Manifest) error {
	if plan.signer == nil {
		return nil
	}
	subjects := []v1.Descriptor{target.Descriptor()}
	if target.Type.IsIndex() {
		children, err := registry.Children(target.Raw)
		if err != nil {
			return err
		}
		for _, child := range children {
			if registry.IsPlatformImage(child) {
				subjects = append(subjects, child)
			}
		}
	}
	for _, subject := range subjects {
		err := attest.CheckSignature(ctx, c, plan.Repository, subject.Digest, plan.signer.Verifier())
		switch {
		case errors.Is(err, attest.ErrUnsigned), registry.IsHidden(plan.Repository.RegistryStr(), err):
			plan.sign = append(plan.sign, subject)
		case err != nil:
			return err
		}
	}
	return nil
}
