package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// A Blob is a blob that a repository lacks.
type Blob struct {
	Digest v1.Hash
	Size   int64
	Layer  v1.Layer
}

// Upload brings blobs into a repository, several at a time. All that have begun
// end before it returns, and the first error stops those that have not.
func (c *Client) Upload(ctx context.Context, repository, base name.Repository, blobs []Blob) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for _, blob := range blobs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.uploadOne(ctx, repository, base, blob); err != nil {
				return c.Explain(repository, fmt.Errorf("send blob %s to %s: %w", blob.Digest, repository, err))
			}
			c.learn(repository, blob.Digest)
			return nil
		})
	}
	return g.Wait()
}

// uploadOne repeats an upload from its beginning when it breaks off on the
// way: in the middle of one, it is unknown what the registry has kept.
func (c *Client) uploadOne(ctx context.Context, repository, base name.Repository, blob Blob) error {
	var layer v1.Layer = watched{blob.Layer, func() Transfer { return c.progress(repository.String(), blob.Digest, blob.Size) }}
	if home, ok := c.home(repository, blob.Digest); ok {
		base = home
	}
	pusher, plain := c.pusher, layer
	if base != (name.Repository{}) && !c.mountless(repository) {
		pusher, layer = c.mounter, &remote.MountableLayer{Layer: layer, Reference: base.Digest(blob.Digest.String())}
	}
	for attempt := 1; ; attempt++ {
		err := pusher.Upload(ctx, repository, layer)
		if pusher == c.mounter && isMountRefusal(err) {
			c.refuseMounts(repository)
			pusher, layer = c.pusher, plain
			continue
		}
		if err == nil || attempt >= c.retry.Attempts || ctx.Err() != nil || !brokeOff(err) {
			return err
		}
		if statusOf(err) == http.StatusBadRequest { // it does not like what it got: is that what we meant to send?
			if err := intact(blob); err != nil {
				return err
			}
		}
		c.notice(fmt.Sprintf("%s: blob %.19s broke off: sending it again", repository.RegistryStr(), blob.Digest.String()))
		if err := ctxio.Sleep(ctx, c.retry.pause(attempt)); err != nil {
			return err
		}
	}
}

// isMountRefusal reports whether an upload that asks for a blob of another
// repository was refused. A token service may refuse that repository's scope
// and the token with it, so what the registry would say without is not known.
func isMountRefusal(err error) bool { return statusOf(err) >= 400 && statusOf(err) < 500 }

// refuseMounts takes note that a registry mounts no blobs into a repository.
func (c *Client) refuseMounts(repository name.Repository) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noMounts[repository.String()] = true
}

func (c *Client) mountless(repository name.Repository) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.noMounts[repository.String()]
}

// brokeOff reports whether an upload failed in a way that the transport could not
// mend: while the blob was sent, or because the registry has forgotten it
// when it was to be completed.
func brokeOff(err error) bool {
	var refusal *transport.Error
	if errors.As(err, &refusal) && refusal.Request != nil {
		if refusal.Request.Method == http.MethodPut {
			return refusal.StatusCode == http.StatusNotFound || refusal.StatusCode == http.StatusBadRequest || refusal.StatusCode == http.StatusRequestedRangeNotSatisfiable
		}
		return refusal.Request.Method == http.MethodPatch && (isPassing(refusal.StatusCode) || refusal.StatusCode == http.StatusNotFound)
	}
	var broken *url.Error
	return errors.As(err, &broken) && strings.EqualFold(broken.Op, http.MethodPatch) && !hopeless(err)
}

// intact reports whether a blob is still what its name says.
func intact(blob Blob) error {
	content, err := blob.Layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	got, _, err := v1.SHA256(content)
	if err == nil && got != blob.Digest {
		err = fmt.Errorf("%w: its bytes here have digest %s: build the image again", ErrDamaged, got)
	}
	return err
}

// PushImage sends one image to a reference, without a release around it.
func (c *Client) PushImage(ctx context.Context, ref name.Reference, img v1.Image) error {
	layers, m, err := ContentOf(img)
	if err != nil {
		return err
	}
	blobs, err := c.Missing(ctx, ref.Context(), layers)
	if err != nil {
		return err
	}
	if err := c.Upload(ctx, ref.Context(), name.Repository{}, blobs); err != nil {
		return err
	}
	return c.Put(ctx, ref, m)
}

// Missing finds the blobs that a repository lacks, each once.
func (c *Client) Missing(ctx context.Context, repository name.Repository, layers []v1.Layer) ([]Blob, error) {
	var blobs []Blob
	seen := map[v1.Hash]bool{}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		size, err := layer.Size()
		if err != nil {
			return nil, err
		}
		mediaType, err := layer.MediaType()
		if err != nil {
			return nil, err
		}
		if !seen[digest] && mediaType.IsDistributable() {
			seen[digest] = true
			blobs = append(blobs, Blob{digest, size, layer})
		}
	}
	there := make([]bool, len(blobs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for i, blob := range blobs {
		g.Go(func() (err error) {
			there[i], err = c.HasBlob(gctx, repository, blob.Digest)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var lacking []Blob
	for i, blob := range blobs {
		if there[i] {
			c.learn(repository, blob.Digest)
		} else {
			lacking = append(lacking, blob)
		}
	}
	return lacking, nil
}

// HasBlob asks for a blob's head. A repository that does not exist yet, or
// that a registry hides from us until we push, has none.
func (c *Client) HasBlob(ctx context.Context, repository name.Repository, digest v1.Hash) (bool, error) {
	layer, err := c.Layer(ctx, repository.Digest(digest.String()))
	if err == nil {
		var exists bool
		if exists, err = partial.Exists(layer); err == nil {
			return exists, nil
		}
	}
	if IsNotFound(err) || IsHidden(repository.RegistryStr(), err) {
		return false, nil
	}
	return false, c.Explain(repository, fmt.Errorf("ask %s for blob %s: %w", repository, digest, err))
}

// learn takes note that a repository has blobs, from which others of the same
// registry can have them without anybody sending a byte.
func (c *Client) learn(repository name.Repository, digests ...v1.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	homes := c.homes[repository.RegistryStr()]
	if homes == nil {
		homes = map[v1.Hash]name.Repository{}
		c.homes[repository.RegistryStr()] = homes
	}
	for _, digest := range digests {
		if _, ok := homes[digest]; !ok {
			homes[digest] = repository
		}
	}
}

func (c *Client) home(repository name.Repository, digest v1.Hash) (name.Repository, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	home, ok := c.homes[repository.RegistryStr()][digest]
	return home, ok && home != repository
}
