package publish

import (
	"bytes"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What travels with an image: artifacts that name it as their subject, as the
// OCI's distribution specification 1.1 has it.
const (
	TypeLock       = "application/vnd.openbraininstitute.spack.lock+json" // the spack.lock that the image was made from
	TypeSPDX       = "application/spdx+json"
	TypeCycloneDX  = "application/vnd.cyclonedx+json"
	TypeProvenance = "application/vnd.in-toto+json"
)

const typeEmpty = types.MediaType("application/vnd.oci.empty.v1+json")

// An artifact is a document about an image, with the manifest that ties it to
// the image.
type artifact struct {
	kind     string // its artifact type
	manifest manifest
	blobs    []v1.Layer
}

// attach makes an artifact of a document.
func attach(subject v1.Descriptor, kind string, document []byte, annotations map[string]string) (artifact, error) {
	config := static.NewLayer([]byte("{}"), typeEmpty)
	payload := static.NewLayer(document, types.MediaType(kind))
	m, err := newManifest(types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  kind,
		Config:        v1.Descriptor{MediaType: typeEmpty, Digest: digestOf([]byte("{}")), Size: 2, Data: []byte("{}")},
		Layers:        []v1.Descriptor{{MediaType: types.MediaType(kind), Digest: digestOf(document), Size: int64(len(document))}},
		Annotations:   annotations,
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
	return artifact{kind, m, []v1.Layer{config, payload}}, err
}

func digestOf(content []byte) v1.Hash {
	digest, _, _ := v1.SHA256(bytes.NewReader(content)) // a reader of bytes cannot fail
	return digest
}

func reader(text []byte) io.Reader { return bytes.NewReader(text) }
