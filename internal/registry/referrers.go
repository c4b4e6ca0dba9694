package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Referrers lists what is attached to a manifest, by the registry's API or
// else by the tag that stands in for it. An entry whose manifest is gone is
// left out by readers of it, not here.
func (c *Client) Referrers(ctx context.Context, subject name.Digest) ([]v1.Descriptor, error) {
	index, err := remote.Referrers(subject, remote.WithContext(ctx), remote.Reuse(c.puller))
	if err == nil {
		var listed *v1.IndexManifest
		if listed, err = index.IndexManifest(); err == nil {
			return c.withTypes(ctx, subject.Context(), listed.Manifests)
		}
	}
	return nil, c.Explain(subject.RegistryStr(), fmt.Errorf("list what is attached to %s: %w", subject, err))
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
			continue // the list is older than somebody's clean-up
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
		return nil, c.Explain(repository.RegistryStr(), fmt.Errorf("read the document %s: %w", repository.Digest(found.Digest.String()), err))
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
