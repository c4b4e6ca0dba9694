package assemble

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

// Scratch is the base image that holds nothing, for static programs.
const Scratch = "scratch"

// A Base is the image below the packages.
type Base struct {
	Ref   string   // as asked for
	Name  string   // by digest, as the build key and the labels have it
	image v1.Image // empty.Image for scratch
}

// model is the base as the container's build key and labels have it.
func (b Base) model() container.Base {
	repository, digest, _ := strings.Cut(b.Name, "@")
	return container.Base{Name: repository, Digest: digest}
}

// A Pull opens the image that a reference means for a platform.
type Pull func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)

// OpenBase finds a base image: Scratch, oci:DIR for an image layout, or a
// reference in a registry, which pull asks.
func OpenBase(ctx context.Context, pull Pull, ref string, platform v1.Platform) (Base, error) {
	base := Base{Ref: ref, Name: Scratch, image: empty.Image}
	var err error
	dir, isLayout := strings.CutPrefix(ref, "oci:")
	switch {
	case ref == Scratch:
		return base, nil
	case isLayout:
		base.image, err = fromLayout(dir, platform)
	default:
		base.image, err = pull(ctx, ref, platform)
	}
	if err != nil {
		return Base{}, fmt.Errorf("base image %s for %s: %w", ref, platform, err)
	}
	digest, err := base.image.Digest()
	if err != nil {
		return Base{}, fmt.Errorf("base image %s: %w", ref, err)
	}
	repository, _, _ := strings.Cut(ref, "@")
	if isLayout {
		repository = "oci"
	} else if tag, err := name.NewTag(ref); err == nil {
		repository = tag.Context().Name()
	}
	base.Name = repository + "@" + digest.String()
	return base, base.check(platform)
}

// fromLayout takes the image for the platform, or the only image there is.
func fromLayout(dir string, platform v1.Platform) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("no image layout: %w", err)
	}
	all, err := imagesOf(index)
	if err != nil {
		return nil, err
	}
	fits := slices.DeleteFunc(slices.Clone(all), func(i namedImage) bool { return !i.platform.Satisfies(platform) })
	switch len(fits) {
	case 1:
		return fits[0].Image, nil
	case 0:
		return nil, fmt.Errorf("the layout holds no image for this platform, only %s", names(all))
	}
	return nil, fmt.Errorf("the layout holds several images for this platform, %s: copy the right one into a layout of its own", names(fits))
}

type namedImage struct {
	v1.Image
	platform v1.Platform
	name     string
}

func names(images []namedImage) string {
	var list []string
	for _, i := range images {
		list = append(list, i.name)
	}
	return strings.Join(list, " and ")
}

// imagesOf returns the images of an index and of those inside it, each checked
// against its digest and size. The platform of one that does not say stands in
// its configuration.
func imagesOf(index v1.ImageIndex) ([]namedImage, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found []namedImage
	for _, d := range manifest.Manifests {
		if d.MediaType.IsIndex() {
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			raw, err := inner.RawManifest()
			if err := same(d, raw, err); err != nil {
				return nil, err
			}
			images, err := imagesOf(inner)
			if err != nil {
				return nil, err
			}
			found = append(found, images...)
			continue
		}
		if !d.MediaType.IsImage() || d.Annotations["vnd.docker.reference.type"] != "" {
			continue // an attestation or other company of an image
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		raw, err := img.RawManifest()
		if err := same(d, raw, err); err != nil {
			return nil, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("configuration of %s: %w", d.Digest, err)
		}
		platform := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
		if d.Platform != nil {
			platform = *d.Platform
		}
		name := cmp.Or(d.Annotations["org.opencontainers.image.ref.name"], d.Digest.String()) + " (" + platform.String() + ")"
		found = append(found, namedImage{img, platform, name})
	}
	return found, nil
}

// same checks a manifest against the descriptor that led to it.
func same(d v1.Descriptor, raw []byte, err error) error {
	if err != nil {
		return err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err == nil && (digest != d.Digest || size != d.Size) {
		err = fmt.Errorf("manifest %s has digest %s and %d bytes of %d: the image is damaged", d.Digest, digest, size, d.Size)
	}
	return err
}

// check refuses a base whose parts do not have their digests, or that is for
// another platform. Layers are checked when they are copied.
func (b Base) check(platform v1.Platform) error {
	manifest, err := b.image.Manifest()
	if err != nil {
		return fmt.Errorf("base image %s: %w", b.Ref, err)
	}
	raw, err := b.image.RawConfigFile()
	if err != nil {
		return fmt.Errorf("base image %s: %w", b.Ref, err)
	}
	if got, _, err := v1.SHA256(strings.NewReader(string(raw))); err != nil || got != manifest.Config.Digest {
		return fmt.Errorf("base image %s: its configuration has digest %s, its manifest says %s", b.Ref, got, manifest.Config.Digest)
	}
	config, err := b.image.ConfigFile()
	if err != nil {
		return fmt.Errorf("base image %s: %w", b.Ref, err)
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return fmt.Errorf("base image %s: %d layers and %d diff IDs: the image is damaged", b.Ref, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return fmt.Errorf("base image %s is for %s/%s, not for %s", b.Ref, config.OS, config.Architecture, platform)
	}
	return nil
}
