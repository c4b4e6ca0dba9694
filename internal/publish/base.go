package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// FindBase returns the base image that a repository has under a build key for a platform; nil where
// it has none that counts: what another build key's label is on, or with a verifier what the
// release builder has not signed.
func FindBase(ctx context.Context, c *registry.Client, repository name.Repository, platform, key string, verifier *attest.Verifier) (v1.Image, error) {
	found, err := c.Get(ctx, repository.Tag(keyTag(key)))
	if registry.IsHidden(repository.RegistryStr(), err) {
		return nil, nil
	}
	if found == nil || err != nil || !found.MediaType.IsImage() {
		return nil, err
	}
	img, err := found.Image()
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, c.Explain(repository, err)
	}
	if config.Config.Labels[image.LabelBuildKey] != key || config.OS+"/"+config.Architecture != platform {
		return nil, nil
	}
	if verifier != nil {
		err := attest.CheckBuild(ctx, c, repository, found.Digest, verifier, key)
		if errors.Is(err, attest.ErrUnsigned) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

// A Base is a base image to be published.
type Base struct {
	Platform string
	Key      string
	Image    func() (v1.Image, error) // opens it; nil: it is only named if it is published already
}

// NewBasePlan looks what a repository lacks of a base image. Each platform's image has the tag of its
// build key, which never moves; the tag latest is an index of those that are there for all
// platforms. The images are in docker's format, as the ONBUILD lines want it, and so is the index.
//
// Machines that publish for different platforms may do so at once: who is last finds what all
// others have sent, if the plan is made again after it was applied.
func NewBasePlan(ctx context.Context, c *registry.Client, repository name.Repository, bases []Base, signer *attest.Signer, verifier *attest.Verifier) (Plan, error) {
	plan := Plan{Repository: repository, signer: signer}
	if verifier == nil && signer != nil {
		verifier = signer.Verifier()
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.DockerManifestList}
	for _, b := range bases {
		m, err := plan.addBase(ctx, c, b, verifier)
		if err != nil {
			return plan, fmt.Errorf("%s for %s: %w", repository, b.Platform, err)
		}
		if m == nil {
			continue
		}
		platform, err := v1.ParsePlatform(b.Platform)
		if err != nil {
			return plan, err
		}
		d := m.Descriptor()
		d.Platform = platform
		index.Manifests = append(index.Manifests, d)
	}
	if len(index.Manifests) == 0 {
		return plan, nil
	}
	slices.SortFunc(index.Manifests, func(a, b v1.Descriptor) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	list, err := registry.NewManifest(types.DockerManifestList, index)
	if err != nil {
		return plan, err
	}
	plan.Digest = list.Digest
	there, err := c.HeadForPush(ctx, repository.Tag(Latest))
	if err != nil {
		return plan, err
	}
	if there == nil || there.Digest != list.Digest {
		plan.manifests = append(plan.manifests, list)
		tag := Tag{Name: Latest, target: list}
		if there != nil {
			tag.Was = there.Digest
		}
		plan.Tags = append(plan.Tags, tag)
		if signer != nil {
			plan.sign = append(plan.sign, signing{list.Descriptor(), ""})
		}
	}
	return plan, nil
}

// addBase adds what is missing of one platform's image to the plan, and returns the image's
// manifest; nil where it is neither here nor there.
func (p *Plan) addBase(ctx context.Context, c *registry.Client, b Base, verifier *attest.Verifier) (*registry.Manifest, error) {
	img, err := FindBase(ctx, c, p.Repository, b.Platform, b.Key, verifier)
	if err != nil {
		return nil, err
	}
	if img != nil {
		m, err := registry.ManifestOf(img)
		return &m, err
	}
	if b.Image == nil {
		return nil, nil
	}
	if img, err = b.Image(); err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if label := config.Config.Labels[image.LabelBuildKey]; label != b.Key {
		return nil, fmt.Errorf("podman's image is that of the build key %.16q, want %.16q: another process has built it anew, so run it again", label, b.Key)
	}
	layers, m, err := registry.ContentOf(img)
	if err != nil {
		return nil, err
	}
	blobs, err := c.Missing(ctx, p.Repository, layers)
	if err != nil {
		return nil, err
	}
	p.Blobs = append(p.Blobs, blobs...)
	p.manifests = append(p.manifests, m)
	p.Tags = append(p.Tags, Tag{Name: keyTag(b.Key), target: m})
	if p.signer != nil {
		p.sign = append(p.sign, signing{m.Descriptor(), b.Key})
	}
	return &m, nil
}
