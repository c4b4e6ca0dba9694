package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// typeArtifact is a manifest of release candidates of the OCI's specification.
// It names blobs and a subject, and no other manifest.
const typeArtifact = types.MediaType("application/vnd.oci.artifact.manifest.v1+json")

// ErrUnreadable is the error for a manifest of which it cannot be told what it
// names.
var ErrUnreadable = errors.New("it is no manifest that is known here, so what it names is not known")

// mediaTypeOf is the media type of a manifest: the one that stands in it, else
// the one that its shape tells. The header it came with is asked last:
// registries send it with parameters, as text/plain, or rightly. A manifest
// that says one thing and looks like another is refused.
func mediaTypeOf(raw []byte, header types.MediaType) (types.MediaType, error) {
	var m struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Config    json.RawMessage `json:"config"`
		Layers    json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if bare, _, err := mime.ParseMediaType(string(header)); err == nil {
		header = types.MediaType(bare)
	}
	index, image := m.Manifests != nil, m.Config != nil || m.Layers != nil
	for _, claimed := range []types.MediaType{m.MediaType, header} {
		switch {
		case claimed.IsIndex() && index && !image, claimed.IsImage() && image && !index:
			return claimed, nil
		case claimed == typeArtifact || claimed.IsSchema1():
			if !index && !image {
				return claimed, nil
			}
		}
		if claimed == m.MediaType && claimed != "" {
			return "", fmt.Errorf("%w: it calls itself %q", ErrUnreadable, claimed)
		}
	}
	switch {
	case index && !image:
		return types.OCIImageIndex, nil
	case image && !index:
		return types.OCIManifestSchema1, nil
	}
	return "", ErrUnreadable
}
