package buildcache

import (
	"fmt"
	"strings"
)

// Media types of the blobs in layout v3.
const (
	MediaTypeTarball  = "application/vnd.spack.install.v2.tar+gzip"
	MediaTypeSpec     = "application/vnd.spack.spec.v5+json" // also where the spec in it is v4: a migrated one
	MediaTypeIndex    = "application/vnd.spack.db.v8+json"
	MediaTypeKey      = "application/pgp-keys"
	MediaTypeKeyIndex = "application/vnd.spack.keyindex.v1+json"
)

// A Manifest of layout v3 names the blobs that make up a package, an index, or
// a key.
type Manifest struct {
	Blobs []Blob
}

// A Blob is an object of layout v3 that is named by its content.
type Blob struct {
	Size        int64  // bytes as stored
	MediaType   string // one of the above, or one that is not known here
	Compression string // gzip or none
	Algorithm   string // sha256
	Checksum    string // of the bytes as stored, in hexadecimal
}

// Key returns the key of the blob's object. Blobs lie beside v3/, not in it.
func (b Blob) Key() string {
	return "blobs/" + b.Algorithm + "/" + b.Checksum[:2] + "/" + b.Checksum
}

// manifestVersion is the only one there is.
const manifestVersion = 3

// ParseManifest reads a manifest, clearsigned or not; a signature is not
// checked, see Keyring.Verify. Every field of every blob must be there and
// make sense: the rest is ErrFormat.
func ParseManifest(data []byte) (*Manifest, error) {
	text, err := unsign(data)
	if err != nil {
		return nil, err
	}
	var f struct {
		Version *int   `json:"version"`
		Data    []blob `json:"data"`
	}
	if err := decode(text, &f); err != nil {
		return nil, err
	}
	switch {
	case f.Version == nil:
		return nil, fmt.Errorf("%w: the manifest has no version", ErrFormat)
	case *f.Version != manifestVersion:
		return nil, fmt.Errorf("%w: manifest version %d is not known here, only %d: update this program", ErrFormat, *f.Version, manifestVersion)
	case len(f.Data) == 0:
		return nil, fmt.Errorf("%w: the manifest names no blobs", ErrFormat)
	}
	m := &Manifest{}
	for i, b := range f.Data {
		blob, err := b.blob()
		if err != nil {
			return nil, fmt.Errorf("blob %d: %w", i+1, err)
		}
		m.Blobs = append(m.Blobs, blob)
	}
	return m, nil
}

// Blob returns the one blob of a media type; none, or more than one, is
// ErrFormat.
func (m *Manifest) Blob(mediaType string) (Blob, error) {
	var found []Blob
	for _, b := range m.Blobs {
		if b.MediaType == mediaType {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		return Blob{}, fmt.Errorf("%w: the manifest names %d blobs of type %s, want 1", ErrFormat, len(found), mediaType)
	}
	return found[0], nil
}

// A blob as JSON has it.
type blob struct {
	Size        *int64 `json:"contentLength"`
	MediaType   string `json:"mediaType"`
	Compression string `json:"compression"`
	Algorithm   string `json:"checksumAlgorithm"`
	Checksum    string `json:"checksum"`
}

func (b blob) blob() (Blob, error) {
	switch {
	case b.Size == nil || *b.Size < 0:
		return Blob{}, fmt.Errorf("%w: no contentLength", ErrFormat)
	case b.MediaType == "":
		return Blob{}, fmt.Errorf("%w: no mediaType", ErrFormat)
	case b.Compression != "gzip" && b.Compression != "none":
		return Blob{}, fmt.Errorf("%w: unknown compression %q", ErrFormat, b.Compression)
	}
	if err := checkDigest(b.Algorithm, b.Checksum); err != nil {
		return Blob{}, err
	}
	return Blob{*b.Size, b.MediaType, b.Compression, b.Algorithm, b.Checksum}, nil
}

// checkDigest takes sha256 only: Spack writes no other, and both values become
// part of a key.
func checkDigest(algorithm, checksum string) error {
	if algorithm != "sha256" {
		return fmt.Errorf("%w: unknown checksum algorithm %q", ErrFormat, algorithm)
	}
	if len(checksum) != 64 || strings.Trim(checksum, "0123456789abcdef") != "" {
		return fmt.Errorf("%w: %q is no sha256 checksum", ErrFormat, checksum)
	}
	return nil
}
