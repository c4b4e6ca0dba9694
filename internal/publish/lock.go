package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Lock reads the lockfile of the release that was concretized under a key, by the tag that its
// publishing wrote; nil where there is none. Whoever may write to the repository writes tags: with
// a verifier the image that the tag names counts only if the release builder has signed it as a
// build, and the image itself says its key and the digest of its lockfile.
func Lock(ctx context.Context, c *registry.Client, repository name.Repository, concretization string, verifier *attest.Verifier) ([]byte, error) {
	tag := repository.Tag(lockTag(concretization))
	found, err := c.Get(ctx, tag)
	if found == nil || err != nil || !found.MediaType.IsImage() {
		return nil, err
	}
	img, err := found.Image()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tag, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, c.Explain(repository, fmt.Errorf("read the configuration of %s: %w", tag, err))
	}
	labels := config.Config.Labels
	if labels[image.LabelConcretization] != concretization || labels[image.LabelLock] == "" {
		c.Notice(fmt.Sprintf("%s does not count: it names an image of another concretization", tag))
		return nil, nil
	}
	if verifier != nil {
		err := attest.CheckBuild(ctx, c, repository, found.Digest, verifier, labels[image.LabelBuildKey])
		if errors.Is(err, attest.ErrUnsigned) {
			c.Notice(fmt.Sprintf("%s does not count: it is not the release builder's", tag))
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	text, err := attest.LockOf(ctx, c, repository, found.Digest, config)
	if errors.Is(err, registry.ErrDamaged) {
		c.Notice(err.Error())
		return nil, nil
	}
	return text, err
}
