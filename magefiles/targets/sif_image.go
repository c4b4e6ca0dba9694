package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// layoutPrefix begins what names a folder with an image layout, as skopeo and
// apptainer write it.
const layoutPrefix = "oci:"

// isImage tells an image from the name of a container, which has neither / nor :.
func isImage(name string) bool { return strings.ContainsAny(name, "/:") }

// buildImageSIF makes the SIF of an image that was not built here: of a layout,
// oci:DIR, or of a registry.
func (a *app) buildImageSIF(ctx context.Context, b sif.Builder, where string, platform *string) (sif.Record, error) {
	wanted, err := parsePlatform(or(platform, "linux/amd64"))
	if err != nil {
		return sif.Record{}, err
	}
	img, from, err := a.openImage(ctx, where, wanted)
	if err != nil {
		return sif.Record{}, err
	}
	from.Platform = wanted.String()
	if from.Digest, err = img.Digest(); err != nil {
		return sif.Record{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return sif.Record{}, err
	}
	labels := config.Config.Labels
	from.BuildKey = cmp.Or(labels[image.LabelBuildKey], from.Digest.String())
	from.Version = cmp.Or(from.Version, labels["org.opencontainers.image.version"], name.DefaultTag)
	record, _, err := b.BuildImage(ctx, img, from, where)
	return record, err
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// openImage opens an image and names what is made of it.
func (a *app) openImage(ctx context.Context, where string, platform v1.Platform) (v1.Image, image.Record, error) {
	title := func(text string) string {
		return strings.Trim(notInNames.ReplaceAllString(strings.ToLower(text), "-"), "-")
	}
	if dir, ok := strings.CutPrefix(where, layoutPrefix); ok {
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, image.Record{}, err
		}
		index, err := layout.ImageIndexFromPath(path)
		if err != nil {
			return nil, image.Record{}, fmt.Errorf("%s is no image layout: %w", dir, err)
		}
		img, err := imageOf(index, platform, 3)
		if err == nil && img == nil {
			err = fmt.Errorf("%s has no image for %s", dir, platform)
		}
		base := filepath.Base(path)
		if base == strings.ReplaceAll(platform.String(), "/", "-") { // as containers:build leaves it
			base = filepath.Base(filepath.Dir(path))
		}
		return img, image.Record{Name: title(base)}, err
	}
	ref, err := name.ParseReference(where)
	if err != nil {
		return nil, image.Record{}, callError{err}
	}
	img, err := a.pull(ctx, where, platform)
	record := image.Record{Name: title(filepath.Base(ref.Context().RepositoryStr()))}
	if tag, ok := ref.(name.Tag); ok {
		record.Version = tag.TagStr()
	}
	return img, record, err
}

// imageOf finds the image for a platform in an index, and in those in it. It is
// nil where there is none.
func imageOf(index v1.ImageIndex, platform v1.Platform, depth int) (v1.Image, error) {
	if depth == 0 {
		return nil, errors.New("indexes of indexes of indexes")
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if d.MediaType.IsIndex() {
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			if img, err := imageOf(inner, platform, depth-1); img != nil || err != nil {
				return img, err
			}
		}
		if !d.MediaType.IsImage() {
			continue
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		if config.OS == platform.OS && config.Architecture == platform.Architecture {
			return img, nil
		}
	}
	return nil, nil
}
