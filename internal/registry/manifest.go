package registry

import (
	"bytes"
	"encoding/json"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Manifest is what a registry stores under a digest or a tag.
type Manifest struct {
	Digest v1.Hash
	Type   types.MediaType
	Raw    []byte
}

// NewManifest encodes a manifest.
func NewManifest(mediaType types.MediaType, content any) (Manifest, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return Manifest{}, err
	}
	return RawManifest(mediaType, raw), nil
}

// RawManifest is a manifest as it was encoded.
func RawManifest(mediaType types.MediaType, raw []byte) Manifest {
	return Manifest{DigestOf(raw), mediaType, raw}
}

// RawManifest and MediaType satisfy remote.Taggable.
func (m Manifest) RawManifest() ([]byte, error)        { return m.Raw, nil }
func (m Manifest) MediaType() (types.MediaType, error) { return m.Type, nil }

// Descriptor names the manifest.
func (m Manifest) Descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: m.Type, Digest: m.Digest, Size: int64(len(m.Raw))}
}

// ManifestOf is the manifest of an image.
func ManifestOf(img v1.Image) (Manifest, error) {
	raw, err := img.RawManifest()
	if err != nil {
		return Manifest{}, err
	}
	mediaType, err := img.MediaType()
	return RawManifest(mediaType, raw), err
}

// ContentOf returns the blobs of an image, its configuration too, and its
// manifest.
func ContentOf(img v1.Image) ([]v1.Layer, Manifest, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, Manifest{}, err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return nil, Manifest{}, err
	}
	m, err := ManifestOf(img)
	return append(slices.Clone(layers), config), m, err
}

// DigestOf is the SHA-256 digest of a content.
func DigestOf(content []byte) v1.Hash {
	digest, _, _ := v1.SHA256(bytes.NewReader(content)) // a reader of bytes cannot fail
	return digest
}
