package buildcache

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Media types of the blobs in layout v3, as Spack 1.0 to 1.2 write them. Read them with Blob.Kind.
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

// Blob returns the blob of a kind. Of several that differ in the version of their format it is the
// newest one that was tried, or the oldest one where all are newer. None, or two of one version, is
// ErrFormat.
func (m *Manifest) Blob(kind BlobKind) (Blob, error) {
	of, err := m.BlobsOf(kind)
	if err != nil {
		return Blob{}, err
	}
	best := of[0]
	for _, b := range of[1:] {
		if _, note := b.Kind(); note == "" {
			best = b
		}
	}
	return best, nil
}

// BlobsOf returns the blobs of a kind by ascending version of their format: an index manifest can
// name one index for each version of Spack's database. None, or two of one version, is ErrFormat.
func (m *Manifest) BlobsOf(kind BlobKind) ([]Blob, error) {
	var found []Blob
	for _, b := range m.Blobs {
		if k, _ := b.Kind(); k == kind {
			found = append(found, b)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: the manifest names no %s", ErrFormat, kind)
	}
	slices.SortStableFunc(found, func(a, b Blob) int {
		_, va, _ := parseMediaType(a.MediaType)
		_, vb, _ := parseMediaType(b.MediaType)
		return cmp.Compare(va, vb)
	})
	for i := range found[1:] {
		if found[i].MediaType == found[i+1].MediaType {
			return nil, fmt.Errorf("%w: the manifest names two blobs of type %s", ErrFormat, found[i].MediaType)
		}
	}
	return found, nil
}

// Notes returns what is newer in a manifest than what was tried, or not known, one line each. What
// such a manifest is about must not be deleted, rewritten or repaired.
func (m *Manifest) Notes() []string {
	var notes []string
	for _, b := range m.Blobs {
		if _, note := b.Kind(); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// Text returns the manifest as Spack writes it, unsigned.
func (m *Manifest) Text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n\"version\":%d,\n\"data\":[", manifestVersion)
	for i, blob := range m.Blobs {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n{\n\"contentLength\":%d,\n\"mediaType\":%q,\n\"compression\":%q,\n\"checksumAlgorithm\":%q,\n\"checksum\":%q\n}",
			blob.Size, blob.MediaType, blob.Compression, blob.Algorithm, blob.Checksum)
	}
	b.WriteString("\n]\n}")
	return b.Bytes()
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
