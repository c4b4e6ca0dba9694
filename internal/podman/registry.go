package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Registry is where images are published, asked for what is there already.
type Registry struct {
	Prefix   string // of every repository: ghcr.io/org/spack-
	Insecure bool   // plain http beyond loopback
}

// Ask returns what the registry has under the name, version and platform of a record, as far as labels tell; nil where
// there is nothing. A registry that cannot be asked is an error, and does not mean that nothing is there.
func (r Registry) Ask(ctx context.Context, want image.Record) (*image.Record, error) {
	var options []name.Option
	if r.Insecure {
		options = append(options, name.Insecure)
	}
	ref, err := name.ParseReference(r.Prefix+want.Name+":"+want.Version, options...)
	if err != nil {
		return nil, err
	}
	platform, err := v1.ParsePlatform(want.Platform)
	if err != nil {
		return nil, err
	}
	found, err := ask(ctx, ref, *platform)
	if err != nil {
		return nil, fmt.Errorf("what is published as %s: %w: --registry=none asks nobody", ref, err)
	}
	return found, nil
}

func ask(ctx context.Context, ref name.Reference, platform v1.Platform) (*image.Record, error) {
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(platform)}
	descriptor, err := remote.Get(ref, options...)
	var refused *transport.Error
	switch {
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	if descriptor.MediaType.IsIndex() {
		index, err := descriptor.ImageIndex()
		if err != nil {
			return nil, err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil, err
		}
		if !holds(manifest, platform) {
			return nil, nil
		}
	}
	img, err := descriptor.Image()
	if err != nil {
		return nil, err
	}
	return readLabels(img, platform)
}

func holds(index *v1.IndexManifest, platform v1.Platform) bool {
	for _, m := range index.Manifests {
		if m.Platform != nil && m.Platform.OS == platform.OS && m.Platform.Architecture == platform.Architecture {
			return true
		}
	}
	return false
}

// readLabels returns what the labels of an image say of its making; nil where it is for another platform. An image
// without our labels was made from other inputs than ours, whatever they were.
func readLabels(img v1.Image, platform v1.Platform) (*image.Record, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return nil, nil
	}
	record := image.Record{BuildKey: config.Config.Labels[image.LabelBuildKey]}
	if record.Digest, err = img.Digest(); err != nil {
		return nil, err
	}
	if text := config.Config.Labels[image.LabelInputs]; text != "" {
		if err := json.Unmarshal([]byte(text), &record.Inputs); err != nil {
			return nil, fmt.Errorf("label %s: %w", image.LabelInputs, err)
		}
	}
	return &record, nil
}
