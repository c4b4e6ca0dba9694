package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
)

// Reference reads a reference to an image. Plain http is for the hosts that
// the client was given.
func (c *Client) Reference(text string) (name.Reference, error) {
	host, _, _ := strings.Cut(text, "/")
	if slices.Contains(c.insecure, host) {
		return name.ParseReference(text, name.Insecure)
	}
	return name.ParseReference(text)
}

// Repository reads the name of a repository.
func (c *Client) Repository(text string) (name.Repository, error) {
	host, _, _ := strings.Cut(text, "/")
	if slices.Contains(c.insecure, host) {
		return name.NewRepository(text, name.Insecure)
	}
	return name.NewRepository(text)
}

// Pull opens the image that a reference means for a platform: a base image,
// or the source of a SIF. A tag may name one image only, for whatever it is.
func (c *Client) Pull(ctx context.Context, text string, platform v1.Platform) (v1.Image, error) {
	ref, err := c.Reference(text)
	if err != nil {
		return nil, err
	}
	found, err := c.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%s does not exist", text)
	}
	img, err := c.imageFor(ctx, found, ref.Context(), platform, 3)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	if img == nil {
		return nil, fmt.Errorf("%s has no image for %s", text, platform)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, c.Explain(ref.Context(), fmt.Errorf("read the configuration of %s: %w", text, err))
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return nil, fmt.Errorf("%s has no image for %s, only for %s/%s", text, platform, config.OS, config.Architecture)
	}
	return img, nil
}

// imageFor finds an index's image for a platform, also in an index inside it,
// so many levels down; nil where there is none.
func (c *Client) imageFor(ctx context.Context, found *Found, repository name.Repository, platform v1.Platform, levels int) (v1.Image, error) {
	if !found.MediaType.IsIndex() {
		return found.Image()
	}
	children, err := Children(found.Manifest)
	if err != nil || levels == 0 {
		return nil, err
	}
	for _, child := range children {
		nested := child.MediaType.IsIndex()
		if !nested && (!IsPlatformImage(child) || !child.Platform.Satisfies(platform)) {
			continue
		}
		inner, err := c.Get(ctx, repository.Digest(child.Digest.String()))
		if err == nil && inner == nil {
			err = fmt.Errorf("%w: %s is named, but not there", ErrDamaged, child.Digest)
		}
		if err != nil {
			return nil, err
		}
		if img, err := c.imageFor(ctx, inner, repository, platform, levels-1); img != nil || err != nil {
			return img, err
		}
	}
	return nil, nil
}

// Published returns what a registry has under the name, version and platform of
// a record, as far as labels tell; nil where there is nothing. A registry that
// cannot be asked is an error, and does not mean that nothing is there.
func (c *Client) Published(ctx context.Context, in Registry, want image.Record) (*image.Record, error) {
	repository, err := in.Repository(want.Name)
	if err != nil {
		return nil, err
	}
	platform, err := v1.ParsePlatform(want.Platform)
	if err != nil {
		return nil, err
	}
	ref := repository.Tag(branch.Version(want.Version))
	found, err := c.published(ctx, ref, *platform)
	if err != nil {
		return nil, fmt.Errorf("what is published as %s: %w: --registry=none asks no registry", ref, err)
	}
	return found, nil
}

func (c *Client) published(ctx context.Context, ref name.Tag, platform v1.Platform) (*image.Record, error) {
	found, err := c.Get(ctx, ref)
	if found == nil || err != nil {
		return nil, err
	}
	img, err := c.imageFor(ctx, found, ref.Context(), platform, 3)
	if img == nil || err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, c.Explain(ref, err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return nil, nil
	}
	// An image without our labels was made from other inputs than ours, whatever they were.
	record := image.Record{BuildKey: config.Config.Labels[image.LabelBuildKey]}
	if record.Digest, err = img.Digest(); err != nil {
		return nil, err
	}
	if manifest, err := img.Manifest(); err == nil { // it is here already
		for _, layer := range manifest.Layers {
			record.Bytes += layer.Size
		}
	}
	if text := config.Config.Labels[image.LabelInputs]; text != "" {
		if err := json.Unmarshal([]byte(text), &record.Inputs); err != nil {
			return nil, fmt.Errorf("label %s: %w", image.LabelInputs, err)
		}
	}
	return &record, nil
}
