package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// Referrers lists what is attached to a manifest, by the registry's API or
// else by the tag that stands in for it. An entry whose manifest is gone is
// left out by readers of it, not here.
func (c *Client) Referrers(ctx context.Context, subject name.Digest) ([]v1.Descriptor, error) {
	attached, _, err := c.attached(ctx, subject)
	if err == nil {
		attached, err = c.withTypes(ctx, subject.Context(), attached)
	}
	if err != nil {
		return nil, c.Explain(subject, fmt.Errorf("list what is attached to %s: %w", subject, err))
	}
	return attached, nil
}

// attached is the plain list, and whether it comes from the registry's API.
func (c *Client) attached(ctx context.Context, subject name.Digest) (list []v1.Descriptor, isAPI bool, err error) {
	response, err := c.read(ctx, subject.Context(), at(subject.Context(), "referrers/"+subject.DigestStr()), types.OCIImageIndex)
	if err != nil {
		return nil, false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		if list, err = c.listed(ctx, subject.Context(), response); !errors.Is(err, errNoList) {
			return list, true, err
		}
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusNotAcceptable, http.StatusGone, http.StatusUnsupportedMediaType, http.StatusNotImplemented: // no such API, in all the ways of saying so
	default:
		return nil, false, transport.CheckError(response)
	}
	list, err = c.FallbackReferrers(ctx, subject)
	return list, false, err
}

// errNoList is the error for a web page and whatever else is sent with status
// 200 where there is no API.
var errNoList = errors.New("it is no list of attached documents")

func (c *Client) listed(ctx context.Context, repository name.Repository, first *http.Response) ([]v1.Descriptor, error) {
	all := []v1.Descriptor{}
	seen := map[v1.Hash]bool{}
	err := c.list(ctx, repository, first, types.OCIImageIndex, func(text []byte) (entries, fresh int, err error) {
		var list struct {
			Manifests *[]v1.Descriptor `json:"manifests"`
			Version   int              `json:"schemaVersion"`
		}
		if err := json.Unmarshal(text, &list); err != nil || list.Manifests == nil && list.Version != 2 {
			return 0, 0, errNoList
		}
		if list.Manifests == nil {
			return 0, 0, nil
		}
		for _, d := range *list.Manifests {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				all = append(all, d)
				fresh++
			}
		}
		return len(*list.Manifests), fresh, nil
	})
	return all, err
}

// FallbackTag is where what is attached to a digest is listed by registries
// that have no API for it.
func FallbackTag(subject name.Digest) name.Tag {
	return subject.Context().Tag(strings.Replace(subject.DigestStr(), ":", "-", 1))
}

// FallbackReferrers reads that list; empty where there is none. GitLab answers
// with the subject itself, which is no list.
func (c *Client) FallbackReferrers(ctx context.Context, subject name.Digest) ([]v1.Descriptor, error) {
	found, err := c.Get(ctx, FallbackTag(subject))
	if found == nil || err != nil {
		return nil, err
	}
	if found.Digest.String() == subject.DigestStr() || !found.MediaType.IsIndex() {
		return nil, nil
	}
	return Children(found.Manifest)
}

// Attach makes sure that documents, which are there, are found from their
// subject: the registry is asked for its list until they are in it, and where
// it keeps none, they are added to the tag that stands in for it.
func (c *Client) Attach(ctx context.Context, subject name.Digest, documents []v1.Descriptor) error {
	for attempt := 1; ; attempt++ {
		list, isAPI, err := c.attached(ctx, subject)
		if err != nil {
			return c.Explain(subject, fmt.Errorf("list what is attached to %s: %w", subject, err))
		}
		missing := slices.DeleteFunc(slices.Clone(documents), func(d v1.Descriptor) bool {
			return slices.ContainsFunc(list, func(l v1.Descriptor) bool { return l.Digest == d.Digest })
		})
		if len(missing) == 0 {
			return nil
		}
		if attempt >= c.retry.Attempts {
			return fmt.Errorf("%s has taken %d documents about %s but does not list them, so they would not be found: publish with --documents=none to leave them out",
				subject.RegistryStr(), len(missing), subject.DigestStr())
		}
		if !isAPI {
			err := c.putFallback(ctx, subject, append(list, missing...))
			if err != nil {
				return err
			}
			if attempt == 1 {
				continue
			}
		}
		if err := ctxio.Sleep(ctx, c.retry.pause(attempt)); err != nil {
			return err
		}
	}
}

// putFallback writes the list whole, and once for all documents: an immutable
// tag takes one.
func (c *Client) putFallback(ctx context.Context, subject name.Digest, list []v1.Descriptor) error {
	m, err := NewManifest(types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: list})
	if err != nil {
		return err
	}
	return c.Put(ctx, FallbackTag(subject), m)
}

// withTypes asks the manifests themselves for the artifact type where the list
// tells none, or only the type of the empty configuration, as some registries
// do. One that is gone keeps its empty type.
func (c *Client) withTypes(ctx context.Context, repository name.Repository, attached []v1.Descriptor) ([]v1.Descriptor, error) {
	for i, d := range attached {
		if d.ArtifactType != "" && d.ArtifactType != string(TypeEmpty) {
			continue
		}
		found, err := c.Get(ctx, repository.Digest(d.Digest.String()))
		if err != nil {
			return nil, err
		}
		if found == nil {
			continue
		}
		if m, err := v1.ParseManifest(bytes.NewReader(found.Manifest)); err == nil && m.ArtifactType != "" {
			attached[i].ArtifactType = m.ArtifactType
		}
	}
	return attached, nil
}

// TypeEmpty is the media type of an artifact's empty configuration.
const TypeEmpty = types.MediaType("application/vnd.oci.empty.v1+json")

// maxDocument is the size that an attached document may have.
const maxDocument = 256 << 20

// Document reads the first attached document of a kind; nil where none is.
func (c *Client) Document(ctx context.Context, repository name.Repository, attached []v1.Descriptor, kind string) ([]byte, error) {
	for _, d := range attached {
		if d.ArtifactType != kind {
			continue
		}
		found, err := c.Get(ctx, repository.Digest(d.Digest.String()))
		if err != nil {
			return nil, err
		}
		if found == nil {
			continue // the list is older than a clean-up
		}
		return c.payload(ctx, repository, found)
	}
	return nil, nil
}

// payload reads the document of an artifact. Its digest is checked.
func (c *Client) payload(ctx context.Context, repository name.Repository, found *Found) ([]byte, error) {
	text, err := func() ([]byte, error) {
		img, err := found.Image()
		if err != nil {
			return nil, err
		}
		m, err := img.Manifest()
		if err != nil {
			return nil, err
		}
		if len(m.Layers) != 1 {
			return nil, fmt.Errorf("it has %d documents, not one", len(m.Layers))
		}
		if m.Layers[0].Size > maxDocument {
			return nil, fmt.Errorf("its document has %d bytes", m.Layers[0].Size)
		}
		return c.Blob(ctx, repository.Digest(m.Layers[0].Digest.String()))
	}()
	if err != nil {
		return nil, c.Explain(repository, fmt.Errorf("read the document %s: %w", repository.Digest(found.Digest.String()), err))
	}
	return text, nil
}

// Blob reads a whole blob, of maxDocument bytes at the most.
func (c *Client) Blob(ctx context.Context, ref name.Digest) ([]byte, error) {
	layer, err := c.puller.Layer(ctx, ref)
	if err != nil {
		return nil, err
	}
	r, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = errors.New("it is too large to be a document")
	}
	return text, err
}
