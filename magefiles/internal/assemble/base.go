package assemble

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/magefiles/internal/image"
)

// Scratch is the base image that holds nothing, for static programs.
const Scratch = "scratch"

// A Base is the image below the packages.
type Base struct {
	Ref   string   // as asked for
	Name  string   // by digest, as the build key and the labels have it
	image v1.Image // empty.Image for scratch
}

// OpenBase finds a base image: Scratch, oci:DIR for an image layout, or a
// reference in a registry, whose credentials come from the docker and podman
// auth files.
func OpenBase(ctx context.Context, ref string, platform v1.Platform) (Base, error) {
	base := Base{Ref: ref, Name: Scratch, image: empty.Image}
	var err error
	dir, isLayout := strings.CutPrefix(ref, "oci:")
	switch {
	case ref == Scratch:
		return base, nil
	case isLayout:
		base.image, err = fromLayout(dir, platform)
	default:
		base.image, err = fromRegistry(ctx, ref, platform)
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

func fromRegistry(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	return remote.Image(parsed, remote.WithContext(ctx), remote.WithPlatform(platform), remote.WithAuthFromKeychain(authn.DefaultKeychain))
}

// fromLayout takes the image for the platform, or the only image there is.
func fromLayout(dir string, platform v1.Platform) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("no image layout: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	fits := func(d v1.Descriptor) bool { return d.Platform != nil && d.Platform.Satisfies(platform) }
	at := slices.IndexFunc(manifest.Manifests, fits)
	if at < 0 && len(manifest.Manifests) == 1 && manifest.Manifests[0].Platform == nil {
		at = 0
	}
	if at < 0 {
		return nil, errors.New("the layout holds no image for this platform")
	}
	return index.Image(manifest.Manifests[at].Digest)
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
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return fmt.Errorf("base image %s is for %s/%s, not for %s", b.Ref, config.OS, config.Architecture, platform)
	}
	return nil
}

// A ground is a base image whose layers lie in the blob store.
type ground struct {
	Layers  []v1.Descriptor `json:"layers"`
	Folders []string        `json:"folders"` // folders, and links that may lead to some
	Shell   bool            `json:"shell"`   // it can run a #!/bin/sh script
	config  *v1.ConfigFile
}

// lay copies the layers of a base image into the blob store. What lies in them
// is noted for the next build.
func (b Builder) lay(ctx context.Context, base Base) (ground, error) {
	g, err := b.layBlobs(ctx, base)
	if err != nil {
		return ground{}, fmt.Errorf("base image %s: %w", base.Ref, err)
	}
	return g, nil
}

func (b Builder) layBlobs(ctx context.Context, base Base) (ground, error) {
	config, err := base.image.ConfigFile()
	if err != nil {
		return ground{}, err
	}
	digest, err := base.image.Digest()
	if err != nil {
		return ground{}, err
	}
	notes := filepath.Join(b.Work, "bases-1", digest.Hex+".json")
	var g ground
	if text, err := os.ReadFile(notes); err == nil && json.Unmarshal(text, &g) == nil && b.holdsAll(g.Layers) {
		g.config = config
		return g, nil
	}
	g = ground{config: config}
	layers, err := base.image.Layers()
	if err != nil {
		return ground{}, err
	}
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return ground{}, err
		}
		if err := b.layOne(l, &g); err != nil {
			return ground{}, err
		}
	}
	text, err := json.Marshal(g)
	if err != nil {
		return ground{}, err
	}
	if err := os.MkdirAll(filepath.Dir(notes), 0o755); err != nil {
		return ground{}, err
	}
	return g, image.WriteFile(notes, text)
}

func (b Builder) holdsAll(layers []v1.Descriptor) bool {
	return !slices.ContainsFunc(layers, func(d v1.Descriptor) bool { return !b.blobs().holds(d.Digest) })
}

func (b Builder) layOne(l v1.Layer, g *ground) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	mediaType, err := l.MediaType()
	if err != nil {
		return err
	}
	stored, err := b.blobs().write(func(w io.Writer) error {
		body, err := l.Compressed()
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(w, body)
		return err
	})
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	if stored.Digest != digest {
		return fmt.Errorf("layer %s: its bytes have digest %s: the image is damaged", digest, stored.Digest)
	}
	g.Layers = append(g.Layers, v1.Descriptor{MediaType: ociType(mediaType), Digest: digest, Size: stored.Size})
	open, err := l.Uncompressed()
	if err != nil {
		return fmt.Errorf("layer %s: %w", digest, err)
	}
	defer open.Close()
	return g.look(tar.NewReader(open))
}

// ociType is the OCI name of a layer's media type: the bytes are the same.
func ociType(t types.MediaType) types.MediaType {
	switch t {
	case types.DockerLayer:
		return types.OCILayer
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer
	}
	return t
}

// look notes the folders of a layer, and whether it brings a shell.
func (g *ground) look(r *tar.Reader) error {
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := strings.Trim(path.Clean("/"+header.Name), "/")
		if header.Typeflag == tar.TypeDir || header.Typeflag == tar.TypeSymlink {
			g.Folders = append(g.Folders, name)
		}
		if name == "bin/sh" || name == "usr/bin/sh" {
			g.Shell = true
		}
	}
}
