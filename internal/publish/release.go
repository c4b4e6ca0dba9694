// Package publish brings images from their layouts to registries and keeps
// them in order there: it pushes, promotes, verifies and cleans up.
//
// A tag is written last, when all that it leads to is there, so that a push
// that breaks off leaves nothing half-tagged and the next one completes it.
// What is there is not sent again. A version that is published is not silently
// replaced by another build.
package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Release is one version of a container, for all its platforms.
type Release struct {
	Name    string
	Version string
	Images  []Built // by platform
}

// A Built is the image of a release for one platform.
type Built struct {
	Record     image.Record
	Image      v1.Image
	Lock       []byte
	descriptor v1.Descriptor // as the index has it
	company    []companion   // what else its layout holds
}

// A companion is a manifest that a builder has put beside an image: an
// attestation or SBOM.
type companion struct {
	manifest v1.Image
	listed   *v1.Descriptor // in the index, as BuildKit does; else it names the image as its subject
}

// ErrIncomplete is the error for a release without an image for each of its
// platforms.
var ErrIncomplete = errors.New("incomplete")

// Read gathers what was built of a container. Platforms are those that its
// definition asks for; without any, those that are there. One that is missing
// is ErrIncomplete, unless partial says that this is meant.
func Read(tree image.Tree, container string, platforms []string, partial bool) (Release, error) {
	release := Release{Name: container}
	if len(platforms) == 0 {
		records, err := tree.List()
		if err != nil {
			return release, err
		}
		for _, record := range records {
			if record.Name == container {
				platforms = append(platforms, record.Platform)
			}
		}
	}
	var missing []string
	for _, platform := range slices.Sorted(slices.Values(platforms)) {
		built, err := readBuilt(tree, container, platform)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, platform)
			continue
		case err != nil:
			return release, err
		}
		release.Images = append(release.Images, built)
	}
	switch {
	case len(release.Images) == 0:
		return release, fmt.Errorf("%s: %w: nothing is built: mage containers:build %s", container, ErrIncomplete, container)
	case len(missing) > 0 && !partial:
		return release, fmt.Errorf("%s: %w: %s is not built: mage containers:build %s --platform=%s, or publish without it by --allow-partial",
			container, ErrIncomplete, strings.Join(missing, " and "), container, missing[0])
	}
	release.Version = release.Images[0].Record.Version
	for _, built := range release.Images {
		if built.Record.Version != release.Version {
			return release, fmt.Errorf("%s: %w: %s is version %s, %s is version %s: build both again", container, ErrIncomplete,
				release.Images[0].Record.Platform, release.Version, built.Record.Platform, built.Record.Version)
		}
	}
	return release, nil
}

func readBuilt(tree image.Tree, container, platform string) (Built, error) {
	record, err := tree.Read(container, platform)
	if err != nil {
		return Built{}, err
	}
	built := Built{Record: record}
	if record.BuildKey == "" {
		return built, fmt.Errorf("%s for %s has no build key: build it again", container, platform)
	}
	if built.Image, err = tree.Open(record); err != nil {
		return built, err
	}
	if built.Lock, err = os.ReadFile(tree.LockFile(container, platform)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return built, err
	}
	described, err := partial.Descriptor(built.Image)
	if err != nil {
		return built, err
	}
	built.descriptor = v1.Descriptor{MediaType: described.MediaType, Digest: described.Digest, Size: described.Size,
		Annotations: map[string]string{image.LabelBuildKey: record.BuildKey}}
	config, err := built.Image.ConfigFile()
	if err != nil {
		return built, fmt.Errorf("%s: %w", tree.Dir(container, platform), err)
	}
	built.descriptor.Platform = &v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	built.company, err = companions(tree.Dir(container, platform), record.Digest)
	return built, err
}

// companions finds what a layout holds for an image beside the image.
func companions(dir string, of v1.Hash) ([]companion, error) {
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, err
	}
	index, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	listed, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found []companion
	for _, d := range listed.Manifests {
		if d.Digest == of || !d.MediaType.IsImage() {
			continue
		}
		manifest, err := index.Image(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		parsed, err := manifest.Manifest()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		switch {
		case d.Annotations["vnd.docker.reference.digest"] == of.String():
			found = append(found, companion{manifest, &d})
		case parsed.Subject != nil && parsed.Subject.Digest == of:
			found = append(found, companion{manifest, nil})
		}
	}
	return found, nil
}

// BuildKey is the build key of the release as a whole.
func (r Release) BuildKey() string {
	var inputs []image.Input
	for _, built := range r.Images {
		inputs = append(inputs, image.Input{Kind: "image", Name: built.Record.Platform, Digest: built.Record.BuildKey})
	}
	return image.BuildKey(inputs)
}

// index is the image index over all platforms. The same images give the same
// index, whenever and from wherever they are published.
func (r Release) index() (registry.Manifest, error) {
	index := v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Annotations: map[string]string{
			"org.opencontainers.image.title":   r.Name,
			"org.opencontainers.image.version": r.Version,
			image.LabelBuildKey:                r.BuildKey(),
		},
	}
	for _, built := range r.Images {
		index.Manifests = append(index.Manifests, built.descriptor)
		for _, c := range built.company {
			if c.listed != nil {
				index.Manifests = append(index.Manifests, *c.listed)
			}
		}
	}
	return registry.NewManifest(types.OCIImageIndex, index)
}
