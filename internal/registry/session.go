package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// session is http with the login for one repository, to do there what an
// action says: transport.PullScope or PushScope.
func (c *Client) session(ctx context.Context, repository name.Repository, action string) (*http.Client, error) {
	key := action + " " + repository.String()
	c.mu.Lock()
	known := c.sessions[key]
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	auth, err := authn.Resolve(ctx, c.keys, repository)
	if err != nil {
		return nil, err
	}
	authorized, err := transport.NewWithContext(ctx, repository.Registry, auth, c.http, []string{repository.Scope(action)})
	if err != nil {
		return nil, err
	}
	made := &http.Client{Transport: authorized}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[key] = made
	return made, nil
}

// at is the address of something of a repository, such as tags/list.
func at(repository name.Repository, what string) string {
	return repository.Scheme() + "://" + repository.RegistryStr() + "/v2/" + repository.RepositoryStr() + "/" + what
}

// read asks for an address with a login to read.
func (c *Client) read(ctx context.Context, repository name.Repository, address string, accept types.MediaType) (*http.Response, error) {
	session, err := c.session(ctx, repository, transport.PullScope)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", string(accept))
	return session.Do(request)
}

// Put writes a manifest under a tag or digest.
func (c *Client) Put(ctx context.Context, ref name.Reference, m Manifest) error {
	for attempt := 1; ; attempt++ {
		err := c.putOnce(ctx, ref, m)
		if err == nil {
			return nil
		}
		if _, isTag := ref.(name.Tag); isTag && statusOf(err) >= 400 && statusOf(err) < 500 {
			// An immutable tag refuses also what it names already, as after a lost answer.
			if there, headErr := c.Head(ctx, ref); headErr == nil && there != nil && there.Digest == m.Digest {
				return nil
			}
		}
		if !lacksBlobs(err) || attempt >= c.retry.Attempts {
			return c.Explain(ref.Context(), fmt.Errorf("write %s: %w", ref, err))
		}
		if err := ctxio.Sleep(ctx, c.retry.pause(attempt)); err != nil {
			return err
		}
	}
}

func (c *Client) putOnce(ctx context.Context, ref name.Reference, m Manifest) error {
	session, err := c.session(ctx, ref.Context(), transport.PushScope)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, at(ref.Context(), "manifests/"+ref.Identifier()), bytes.NewReader(m.Raw))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", string(m.Type))
	response, err := session.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return transport.CheckError(response, http.StatusOK, http.StatusCreated, http.StatusAccepted)
}

// lacksBlobs reports whether a registry does not see yet what was sent before
// a manifest: docker-registry 2 while another push is sending the same blobs.
func lacksBlobs(err error) bool {
	var refusal *transport.Error
	return errors.As(err, &refusal) && slices.ContainsFunc(refusal.Errors, func(d transport.Diagnostic) bool {
		return d.Code == transport.BlobUnknownErrorCode || d.Code == transport.ManifestBlobUnknownErrorCode
	})
}
