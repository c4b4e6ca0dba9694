// Package publish brings images from their layouts to registries and keeps
// them in order there: it pushes, promotes, shows, compares, verifies and
// cleans up.
//
// A tag is written last, when all that it leads to is there, so that a push
// that breaks off leaves nothing half-tagged and the next one completes it.
// What is there is not sent again. A version that is published is not silently
// replaced by another build.
package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Options say how to speak with registries. The zero value speaks with public
// ones, and with those that the auth files know.
type Options struct {
	Credentials Credentials
	Insecure    []string          // hosts beyond loopback with which plain http is spoken
	Parallel    int               // blobs at a time; 0 is a good number
	Patience    Patience          // zero: DefaultPatience
	Progress    Progress          // nil: nobody watches
	Notice      func(string)      // what a user may want to know, such as a repeated request; nil: nobody listens
	Certs       []string          // folders with a folder of authorities for each registry; nil: podman's and docker's
	Transport   http.RoundTripper // instead of the network, for tests
}

// A Client speaks with registries. It remembers, for its lifetime, logins and
// which repository has which blob; its methods may be called in parallel.
type Client struct {
	keys     *keychain
	pusher   *remote.Pusher
	puller   *remote.Puller
	http     http.RoundTripper
	parallel int
	patience Patience
	progress Progress
	notice   func(string)

	mu    sync.Mutex
	homes map[string]map[v1.Hash]name.Repository // by registry: where a blob is
}

// NewClient makes a client.
func NewClient(o Options) (*Client, error) {
	c := &Client{
		keys:     &keychain{credentials: o.Credentials, ecr: &ecrAccounts{}},
		parallel: o.Parallel,
		patience: o.Patience,
		progress: o.Progress,
		homes:    map[string]map[v1.Hash]name.Repository{},
	}
	if c.parallel == 0 {
		c.parallel = 6
	}
	if c.patience == (Patience{}) {
		c.patience = DefaultPatience
	}
	if c.progress == nil {
		c.progress = silent{}
	}
	c.notice = func(text string) {
		if o.Notice != nil {
			o.Notice(c.keys.redact(text))
		}
	}
	inner := o.Transport
	if inner == nil {
		dirs := o.Certs
		if dirs == nil {
			dirs = certsDirs
		}
		inner = &network{dirs: dirs}
	}
	insecure := map[string]bool{}
	for _, host := range o.Insecure {
		insecure[host] = true
	}
	c.http = &patient{Patience: c.patience, inner: guard{inner, insecure}, notice: c.notice, notBefore: map[string]time.Time{}}
	// The library repeats nothing: our transport does, and upload.
	options := []remote.Option{
		remote.WithAuthFromKeychain(c.keys), remote.WithTransport(c.http), remote.WithJobs(c.parallel), remote.WithUserAgent("spacktainers"),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithRetryStatusCodes(),
		remote.WithRetryPredicate(func(error) bool { return false }),
	}
	var err error
	if c.pusher, err = remote.NewPusher(options...); err != nil {
		return nil, err
	}
	c.puller, err = remote.NewPuller(options...)
	return c, err
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

// head asks what a tag or digest names; nil where it names nothing.
func (c *Client) head(ctx context.Context, ref name.Reference) (*v1.Descriptor, error) {
	found, err := c.puller.Head(ctx, ref)
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, c.explain(ref.Context().RegistryStr(), fmt.Errorf("ask for %s: %w", ref, err))
	}
	return found, nil
}

// headForPush is head for a repository that may not exist yet: registries hide
// that, some behind a refusal. Whether we may write, the push will show.
func (c *Client) headForPush(ctx context.Context, ref name.Reference) (*v1.Descriptor, error) {
	found, err := c.head(ctx, ref)
	if isHidden(ref.Context().RegistryStr(), err) {
		return nil, nil
	}
	return found, err
}

// isHidden tells a repository that is kept secret from wrong credentials.
func isHidden(host string, err error) bool {
	var refusal *transport.Error
	if !errors.As(err, &refusal) || refusal.Request == nil || !strings.HasPrefix(refusal.Request.URL.Path, "/v2/") {
		return false
	}
	return refusal.StatusCode == http.StatusForbidden || refusal.StatusCode == http.StatusUnauthorized && host == dockerHub
}

// get reads a manifest; its digest is checked, and its media type is its own
// and not that of the header. nil where there is none.
func (c *Client) get(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	found, err := c.puller.Get(ctx, ref)
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, c.explain(ref.Context().RegistryStr(), fmt.Errorf("read %s: %w", ref, err))
	}
	if found.MediaType, err = mediaTypeOf(found.Manifest, found.MediaType); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return found, nil
}

// IsMissing says whether an error is that a repository does not exist.
func IsMissing(err error) bool { return isNotFound(err) }
