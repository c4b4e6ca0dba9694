package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
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
func (c *Client) Locks(ctx context.Context, repository name.Repository, allowMissing bool) ([]Lock, error) {
	tags, err := c.tags(ctx, repository)
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, fmt.Errorf("%s has no tags: that cannot be told from a listing that went wrong", repository)
	}
	byDigest := map[v1.Hash]*Lock{}
	for _, tag := range tags {
		images, err := c.published(ctx, repository.Tag(tag))
		if err != nil {
			return nil, err
		}
		if images == nil {
			return nil, fmt.Errorf("%s was listed, but is not there: list again", repository.Tag(tag))
		}
		for _, img := range images {
			lock := byDigest[img.descriptor.Digest]
			if lock == nil {
				lock = &Lock{Repository: repository.String(), Digest: img.descriptor.Digest, Platform: img.platform}
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
	g.SetLimit(c.parallel)
	for i := range locks {
		g.Go(func() (err error) {
			locks[i].Text, err = c.lockOf(gctx, repository, locks[i].Digest)
			if err == nil && locks[i].Text == nil && !allowMissing {
				err = fmt.Errorf("%s@%s (%s): %w", repository, locks[i].Digest, locks[i].Tags[0], ErrNoLock)
			}
			return err
		})
	}
	return locks, g.Wait()
}

// lockOf reads the lockfile that is attached to an image; nil where none is.
func (c *Client) lockOf(ctx context.Context, repository name.Repository, digest v1.Hash) ([]byte, error) {
	ref := repository.Digest(digest.String())
	attached, err := c.referrers(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(attached, func(d v1.Descriptor) bool { return d.ArtifactType == TypeLock }) {
		return nil, nil
	}
	config, err := c.config(ctx, repository, v1.Descriptor{Digest: digest})
	if err != nil {
		return nil, err
	}
	// Several may have been attached over time; the image says which is its own.
	var wrong error
	for _, d := range attached {
		if d.ArtifactType != TypeLock {
			continue
		}
		text, err := c.document(ctx, repository, []v1.Descriptor{d}, TypeLock)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue
		}
		if wrong = checkLock(ref, config, text); wrong == nil {
			return text, nil
		}
	}
	return nil, wrong
}

// tags lists the tags of a repository, without those for machines. A listing
// that breaks off is an error.
func (c *Client) tags(ctx context.Context, repository name.Repository) ([]string, error) {
	all, err := c.allTags(ctx, repository)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, isHelperTag)
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (c *Client) allTags(ctx context.Context, repository name.Repository) ([]string, error) {
	all, err := c.puller.List(ctx, repository)
	if err != nil {
		return nil, c.explain(repository.RegistryStr(), fmt.Errorf("list the tags of %s: %w", repository, err))
	}
	return all, nil
}
