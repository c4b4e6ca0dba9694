package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// ErrDamaged is the error for content that is not what its name says.
var ErrDamaged = errors.New("damaged")

// A PlatformImage is one platform's image behind a tag.
type PlatformImage struct {
	Platform   string
	Key        string // build key; empty where none is given
	Descriptor v1.Descriptor
}

// Images lists the images behind a tag or digest; nil where there is none.
func (c *Client) Images(ctx context.Context, ref name.Reference) ([]PlatformImage, error) {
	found, err := c.Get(ctx, ref)
	if found == nil || err != nil {
		return nil, err
	}
	if !found.MediaType.IsIndex() {
		config, err := c.Config(ctx, ref.Context(), found.Descriptor)
		if err != nil {
			return nil, err
		}
		platform := v1.Platform{OS: config.OS, Architecture: config.Architecture}
		return []PlatformImage{{platform.String(), config.Config.Labels[image.LabelBuildKey], found.Descriptor}}, nil
	}
	children, err := Children(found.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	var images []PlatformImage
	for _, child := range children {
		if !IsPlatformImage(child) {
			continue
		}
		platform := v1.Platform{OS: child.Platform.OS, Architecture: child.Platform.Architecture}
		images = append(images, PlatformImage{platform.String(), child.Annotations[image.LabelBuildKey], child})
	}
	return images, nil
}

// IsPlatformImage tells an index's images from what BuildKit lists beside them.
func IsPlatformImage(d v1.Descriptor) bool {
	return d.MediaType.IsImage() && d.Platform != nil && d.Platform.OS != "unknown" && d.Annotations["vnd.docker.reference.digest"] == ""
}

// Config reads the configuration of an image.
func (c *Client) Config(ctx context.Context, repository name.Repository, d v1.Descriptor) (*v1.ConfigFile, error) {
	ref := repository.Digest(d.Digest.String())
	found, err := c.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%s is named, but not there", ref)
	}
	img, err := found.Image()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, c.Explain(repository, fmt.Errorf("read the configuration of %s: %w", ref, err))
	}
	return config, nil
}

// Children are the manifests that an index lists.
func Children(raw []byte) ([]v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if index.MediaType != "" && !index.MediaType.IsIndex() {
		return nil, fmt.Errorf("it is no index but %s", index.MediaType)
	}
	return index.Manifests, nil
}

// Image opens the image that a manifest names. One that is not there is
// ErrDamaged.
func (c *Client) Image(ctx context.Context, repository name.Repository, digest v1.Hash) (v1.Image, error) {
	ref := repository.Digest(digest.String())
	found, err := c.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s is named, but not there", ErrDamaged, ref)
	}
	return found.Image()
}
