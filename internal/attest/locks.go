package attest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Lock reads the lockfile that is attached to an image; nil where none is.
func Lock(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash) ([]byte, error) {
	return lock(ctx, c, repository, digest, func() (*v1.ConfigFile, error) {
		return c.Config(ctx, repository, v1.Descriptor{Digest: digest})
	})
}

// LockOf is Lock for an image whose configuration is known.
func LockOf(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, config *v1.ConfigFile) ([]byte, error) {
	return lock(ctx, c, repository, digest, func() (*v1.ConfigFile, error) { return config, nil })
}

func lock(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, read func() (*v1.ConfigFile, error)) ([]byte, error) {
	ref := repository.Digest(digest.String())
	attached, err := c.Referrers(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(attached, func(d v1.Descriptor) bool { return d.ArtifactType == TypeLock }) {
		return nil, nil
	}
	config, err := read()
	if err != nil {
		return nil, err
	}
	// Several may have been attached over time; the image says which is its own.
	var wrong error
	for _, d := range attached {
		if d.ArtifactType != TypeLock {
			continue
		}
		text, err := c.Document(ctx, repository, []v1.Descriptor{d}, TypeLock)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue
		}
		if wrong = CheckLock(ref, config, text); wrong == nil {
			return text, nil
		}
	}
	return nil, wrong
}

// CheckLock compares a lockfile with what its image says of it.
func CheckLock(ref name.Digest, config *v1.ConfigFile, text []byte) error {
	sum := sha256.Sum256(text)
	if want := config.Config.Labels[image.LabelLock]; want != "" && want != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: the lockfile attached to %s has sha256 %x, the image says %s", registry.ErrDamaged, ref, sum, want)
	}
	return nil
}
