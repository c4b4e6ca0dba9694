package publish

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A signing is a manifest to sign, as the build of a build key.
type signing struct {
	subject v1.Descriptor
	key     string
}

// planSignatures finds what the signer has not signed yet: the target and, in
// an index, each image, since some pull those by digest.
func planSignatures(ctx context.Context, c *registry.Client, plan *Plan, target registry.Manifest, key string) error {
	if plan.signer == nil {
		return nil
	}
	subjects := []signing{{target.Descriptor(), key}}
	if target.Type.IsIndex() {
		children, err := registry.Children(target.Raw)
		if err != nil {
			return err
		}
		for _, child := range children {
			if registry.IsPlatformImage(child) {
				subjects = append(subjects, signing{child, child.Annotations[image.LabelBuildKey]})
			}
		}
	}
	for _, subject := range subjects {
		err := checkSigning(ctx, c, plan.Repository, subject, plan.signer.Verifier())
		switch {
		case errors.Is(err, attest.ErrUnsigned), registry.IsHidden(plan.Repository.RegistryStr(), err):
			plan.sign = append(plan.sign, subject)
		case err != nil:
			return err
		}
	}
	return nil
}

func checkSigning(ctx context.Context, c *registry.Client, repository name.Repository, s signing, verifier *attest.Verifier) error {
	if s.key == "" { // an image that something else has published
		return attest.CheckSignature(ctx, c, repository, s.subject.Digest, verifier)
	}
	return attest.CheckBuild(ctx, c, repository, s.subject.Digest, verifier, s.key)
}
