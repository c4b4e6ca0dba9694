// Package publish sends images from their layouts to registries.
package publish

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// Push sends an image to a reference. Blobs that the registry has are not sent
// again. Credentials come from the docker and podman auth files; plain http is
// spoken with loopback only.
func Push(ctx context.Context, ref string, image v1.Image) error {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	if err := remote.Write(parsed, image, options(ctx)...); err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	return nil
}

// Verify reads an image back from a registry and checks every byte: the
// digests of manifest, configuration and layers, and that each layer unpacks
// to what the configuration says. It returns the digest that the tag names.
func Verify(ctx context.Context, ref string) (v1.Hash, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return v1.Hash{}, err
	}
	image, err := remote.Image(parsed, options(ctx)...)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	if err := validate.Image(image); err != nil {
		return v1.Hash{}, fmt.Errorf("%s is damaged: %w", ref, err)
	}
	return image.Digest()
}

func options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
}
