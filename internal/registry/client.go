// Package registry is the one door to OCI registries: names, credentials,
// transport, retries, what registries answer differently from what they should,
// and what their errors mean. Every access to a registry goes through a Client.
//
// It refuses plain http beyond loopback unless a host is named as insecure, and
// puts no secret into an error or a log line.
package registry

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Options say how to speak with registries. The zero value speaks with public
// ones, and with those that the auth files know.
type Options struct {
	Credentials Credentials
	Insecure    []string          // hosts beyond loopback with which plain http is spoken
	Parallel    int               // blobs at a time; 0 is a good number
	Retry       Retry             // zero: DefaultRetry
	Idle        time.Duration     // a transfer without a byte for so long is broken off; zero: DefaultIdle
	Realms      []string          // hosts of token services that may see credentials of registries in other domains
	Progress    Progress          // nil: not shown
	Notice      func(string)      // what a user may want to know, such as a repeated request; nil: dropped
	Certs       []string          // folders with a folder of authorities for each registry; nil: podman's and docker's
	Transport   http.RoundTripper // instead of the network, for tests
}

// A Client speaks with registries. It remembers, for its lifetime, logins and
// which repository has which blob; its methods may be called in parallel.
type Client struct {
	keys     *keychain
	pusher   *remote.Pusher
	mounter  *remote.Pusher // for uploads that ask for blobs of other repositories, which may spoil its token
	puller   *remote.Puller
	http     http.RoundTripper
	parallel int
	retry    Retry
	progress Progress
	notice   func(string)
	insecure []string // hosts with which plain http may be spoken

	mu       sync.Mutex
	homes    map[string]map[v1.Hash]name.Repository // by registry: where a blob is
	noMounts map[string]bool                        // by repository
	sessions map[string]*http.Client                // by action and repository
}

// NewClient makes a client.
func NewClient(o Options) (*Client, error) {
	c := &Client{
		keys:     &keychain{credentials: o.Credentials, ecr: &ecrAccounts{}, realms: o.Realms},
		parallel: o.Parallel,
		retry:    o.Retry,
		progress: o.Progress,
		insecure: o.Insecure,
		homes:    map[string]map[v1.Hash]name.Repository{},
		noMounts: map[string]bool{},
		sessions: map[string]*http.Client{},
	}
	if c.parallel == 0 {
		c.parallel = 6
	}
	if c.retry == (Retry{}) {
		c.retry = DefaultRetry
	}
	if c.progress == nil {
		c.progress = func(string, v1.Hash, int64) Transfer { return silent{} }
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
	c.http = quirks{&retrier{Retry: c.retry, inner: &guard{inner: inner, insecure: insecure, keys: c.keys, idle: o.Idle}, notice: c.notice, notBefore: map[string]time.Time{}, answered: map[string]bool{}}}
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
	if c.mounter, err = remote.NewPusher(options...); err != nil {
		return nil, err
	}
	c.puller, err = remote.NewPuller(options...)
	return c, err
}

// Head asks what a tag or digest names; nil where it names nothing.
func (c *Client) Head(ctx context.Context, ref name.Reference) (*v1.Descriptor, error) {
	found, err := c.puller.Head(ctx, ref)
	switch {
	case IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, c.Explain(ref.Context(), fmt.Errorf("ask for %s: %w", ref, err))
	}
	return found, nil
}

// HeadForPush is Head for a repository that may not exist yet: registries hide
// that, some behind a refusal. Whether we may write, the push will show.
func (c *Client) HeadForPush(ctx context.Context, ref name.Reference) (*v1.Descriptor, error) {
	found, err := c.Head(ctx, ref)
	if IsHidden(ref.Context().RegistryStr(), err) {
		return nil, nil
	}
	return found, err
}

// A Found is a manifest that was read, with its descriptor.
type Found = remote.Descriptor

// Get reads a manifest; its digest is checked, and its media type is its own
// and not that of the header. nil where there is none.
func (c *Client) Get(ctx context.Context, ref name.Reference) (*Found, error) {
	found, err := c.puller.Get(ctx, ref)
	switch {
	case IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, c.Explain(ref.Context(), fmt.Errorf("read %s: %w", ref, err))
	}
	if found.MediaType, err = mediaTypeOf(found.Manifest, found.MediaType); err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return found, nil
}

// Layer opens a blob. Nothing is asked before it is read.
func (c *Client) Layer(ctx context.Context, ref name.Digest) (v1.Layer, error) {
	return c.puller.Layer(ctx, ref)
}

// Parallel is how many requests should be on their way at once.
func (c *Client) Parallel() int { return c.parallel }

// Notice tells the user something that is no error.
func (c *Client) Notice(text string) { c.notice(text) }

// Redact blackens every secret that a registry was shown in a text.
func (c *Client) Redact(text string) string { return c.keys.redact(text) }

// EnsureRepository makes a repository where no push does: on Amazon ECR.
func (c *Client) EnsureRepository(ctx context.Context, repository name.Repository) error {
	if _, ok := parseECR(repository.RegistryStr()); !ok {
		return nil
	}
	return c.Explain(repository, c.keys.ecr.ensure(ctx, c.keys.credentials, repository))
}
