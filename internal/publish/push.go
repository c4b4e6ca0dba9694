package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// Execute carries a plan out: blobs, then manifests from the leaves to the
// index, then signatures, then tags. Broken off anywhere, it has tagged
// nothing that is not whole, and the next plan holds the rest.
func (c *Client) Execute(ctx context.Context, plan Plan) error {
	if plan.Empty() {
		return nil
	}
	host := plan.Repository.RegistryStr()
	if account, ok := parseECR(host); ok {
		if err := c.keys.ecr.ensure(ctx, account, plan.Repository); err != nil {
			return c.explain(host, err)
		}
	}
	if err := c.upload(ctx, plan.Repository, plan.base, plan.Blobs); err != nil {
		return err
	}
	for _, m := range plan.manifests {
		if err := c.put(ctx, plan.Repository.Digest(m.digest.String()), m); err != nil {
			return err
		}
	}
	for _, subject := range plan.sign {
		if err := c.sign(ctx, plan.Repository, subject, plan.signer); err != nil {
			return err
		}
	}
	for _, tag := range plan.Tags {
		if err := c.put(ctx, plan.Repository.Tag(tag.Name), tag.target); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) put(ctx context.Context, ref name.Reference, m manifest) error {
	if err := c.pusher.Put(ctx, ref, m); err != nil {
		return c.explain(ref.Context().RegistryStr(), fmt.Errorf("write %s: %w", ref, err))
	}
	return nil
}

// upload brings blobs into a repository, several at a time. All that have begun
// end before it returns, and the first error stops those that have not.
func (c *Client) upload(ctx context.Context, repository, base name.Repository, blobs []Blob) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for _, blob := range blobs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := c.uploadOne(ctx, repository, base, blob); err != nil {
				return c.explain(repository.RegistryStr(), fmt.Errorf("send blob %s to %s: %w", blob.Digest, repository, err))
			}
			c.learn(repository, blob.Digest)
			return nil
		})
	}
	return g.Wait()
}

// uploadOne repeats an upload from its beginning when it breaks off on the
// way: in the middle of one, nobody knows what the registry has kept.
func (c *Client) uploadOne(ctx context.Context, repository, base name.Repository, blob Blob) error {
	var layer v1.Layer = watched{blob.layer, func() Transfer { return c.progress.Begin(repository.String(), blob.Digest, blob.Size) }}
	if home, ok := c.home(repository, blob.Digest); ok {
		base = home
	}
	if base != (name.Repository{}) {
		layer = &remote.MountableLayer{Layer: layer, Reference: base.Digest(blob.Digest.String())}
	}
	for attempt := 1; ; attempt++ {
		err := c.pusher.Upload(ctx, repository, layer)
		if err == nil || attempt >= c.patience.Attempts || ctx.Err() != nil || !brokeOff(err) {
			return err
		}
		if statusOf(err) == http.StatusBadRequest { // it does not like what it got: is that what we meant to send?
			if err := intact(blob); err != nil {
				return err
			}
		}
		c.notice(fmt.Sprintf("%s: blob %.19s broke off: sending it again", repository.RegistryStr(), blob.Digest.String()))
		if err := sleep(ctx, c.patience.pause(attempt)); err != nil {
			return err
		}
	}
}

// brokeOff says whether an upload failed in a way that the transport could not
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

// intact says whether a blob is still what its name says.
func intact(blob Blob) error {
	content, err := blob.layer.Compressed()
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

// Push sends one image to a reference, for a single call without a release
// around it. Credentials come from the auth files.
func Push(ctx context.Context, ref string, img v1.Image) error {
	c, err := NewClient(Options{})
	if err != nil {
		return err
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	layers, m, err := contentOf(img)
	if err != nil {
		return err
	}
	blobs, err := c.missing(ctx, parsed.Context(), layers)
	if err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	if err := c.upload(ctx, parsed.Context(), name.Repository{}, blobs); err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	if err := c.put(ctx, parsed, m); err != nil {
		return fmt.Errorf("push %s: %w", ref, err)
	}
	return nil
}
