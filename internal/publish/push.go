package publish

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Apply carries a plan out: blobs, then manifests from the leaves to the index, then signatures,
// then tags. Documents are looked up again from what they are about, since one that a registry does
// not list is as good as lost. Broken off anywhere, it has tagged nothing that is not whole, and
// the next plan holds the rest.
func (p Plan) Apply(ctx context.Context, c *registry.Client) error {
	if p.Empty() {
		return nil
	}
	if err := c.EnsureRepository(ctx, p.Repository); err != nil {
		return err
	}
	if err := c.Upload(ctx, p.Repository, p.base, p.Blobs); err != nil {
		return err
	}
	if err := putManifests(ctx, c, p.Repository, p.manifests); err != nil {
		return err
	}
	for _, subject := range p.sign {
		if err := attest.Sign(ctx, c, p.Repository, subject.subject, subject.key, p.signer); err != nil {
			return err
		}
	}
	for _, tag := range p.Tags {
		err := c.Put(ctx, p.Repository.Tag(tag.Name), tag.target)
		if err != nil && p.untrusted && isKeyTag(tag.Name) && registry.IsRefusal(err) {
			return fmt.Errorf("%s names an image that the release builder has not signed, and it cannot be replaced: remove it there, and look who may write to %s: %w", p.Repository.Tag(tag.Name), p.Repository, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putManifests writes manifests in their order, and makes sure that those about
// another one are found from there.
func putManifests(ctx context.Context, c *registry.Client, repository name.Repository, manifests []registry.Manifest) error {
	documents := map[v1.Hash][]v1.Descriptor{}
	var subjects []v1.Hash
	for _, m := range manifests {
		about, d, err := documentOf(m)
		if err != nil {
			return err
		}
		err = c.Put(ctx, repository.Digest(m.Digest.String()), m)
		if about == (v1.Hash{}) {
			if err != nil {
				return err
			}
			continue
		}
		if registry.IsRefusal(err) && !registry.IsDenied(err) {
			return fmt.Errorf("%w: does %s take no documents such as %s? publish with --documents=none to leave them out", err, repository.RegistryStr(), d.ArtifactType)
		}
		if err != nil {
			return err
		}
		if documents[about] == nil {
			subjects = append(subjects, about)
		}
		documents[about] = append(documents[about], d)
	}
	for _, subject := range subjects {
		if err := c.Attach(ctx, repository.Digest(subject.String()), documents[subject]); err != nil {
			return err
		}
	}
	return nil
}

// documentOf is what a manifest is about, and how lists name it; zero where it
// is about no other one.
func documentOf(m registry.Manifest) (about v1.Hash, d v1.Descriptor, err error) {
	if m.Type.IsIndex() {
		return about, d, nil
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(m.Raw))
	if err != nil || parsed.Subject == nil {
		return about, d, err
	}
	d = m.Descriptor()
	d.ArtifactType, d.Annotations = cmp.Or(parsed.ArtifactType, string(parsed.Config.MediaType)), parsed.Annotations
	return parsed.Subject.Digest, d, nil
}
