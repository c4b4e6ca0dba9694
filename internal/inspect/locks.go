package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Lock is the lockfile of an image that is still published.
type Lock struct {
	Repository string   `json:"repository"`
	Digest     v1.Hash  `json:"digest"` // of the image
	Platform   string   `json:"platform"`
	Tags       []string `json:"tags"` // that lead to it
	Text       []byte   `json:"-"`    // spack.lock; nil where none is attached
}

// ErrNoLock is the error for a published image without a lockfile: what it
// needs is not known.
var ErrNoLock = errors.New("no lockfile is attached")

// Locks returns the lockfile of every image that a tag of the repository leads
// to, each image once. It is whole or an error: a listing that breaks off, a
// tag that leads nowhere, an image whose lockfile is not what the image says.
// An image without a lockfile is ErrNoLock, unless allowMissing; it is then
// among the results with no text.
func Locks(ctx context.Context, c *registry.Client, repository name.Repository, allowMissing bool) ([]Lock, error) {
	tags, err := c.Tags(ctx, repository)
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, fmt.Errorf("%s has no tags: that cannot be told from a listing that went wrong", repository)
	}
	byDigest := map[v1.Hash]*Lock{}
	for _, tag := range tags {
		images, err := c.Images(ctx, repository.Tag(tag))
		if err != nil {
			return nil, err
		}
		if images == nil {
			return nil, fmt.Errorf("%s was listed, but is not there: list again", repository.Tag(tag))
		}
		for _, img := range images {
			lock := byDigest[img.Descriptor.Digest]
			if lock == nil {
				lock = &Lock{Repository: repository.String(), Digest: img.Descriptor.Digest, Platform: img.Platform}
				byDigest[lock.Digest] = lock
			}
			lock.Tags = append(lock.Tags, tag)
		}
	}
	locks := make([]Lock, 0, len(byDigest))
	for _, lock := range byDigest {
		locks = append(locks, *lock)
	}
	slices.SortFunc(locks, func(a, b Lock) int {
		return cmp.Or(cmp.Compare(a.Tags[0], b.Tags[0]), cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Digest.Hex, b.Digest.Hex))
	})
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.Parallel())
	for i := range locks {
		g.Go(func() (err error) {
			locks[i].Text, err = attest.Lock(gctx, c, repository, locks[i].Digest)
			if err == nil && locks[i].Text == nil && !allowMissing {
				err = fmt.Errorf("%s@%s (%s): %w", repository, locks[i].Digest, locks[i].Tags[0], ErrNoLock)
			}
			return err
		})
	}
	return locks, g.Wait()
}
