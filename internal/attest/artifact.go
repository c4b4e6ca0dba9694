// Package attest says what travels with an image: its lockfile, bills of
// materials and provenance, as documents that name it as their subject, and
// signatures.
package attest

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// What travels with an image: artifacts that name it as their subject, as the
// OCI's distribution specification 1.1 has it.
const (
	TypeLock       = "application/vnd.openbraininstitute.spack.lock+json" // the spack.lock that the image was made from
	TypeSPDX       = "application/spdx+json"
	TypeCycloneDX  = "application/vnd.cyclonedx+json"
	TypeProvenance = "application/vnd.in-toto+json"
)

// Titles are the file names that tools give to attached documents.
var Titles = map[string]string{TypeLock: "spack.lock", TypeSPDX: "sbom.spdx.json", TypeCycloneDX: "sbom.cdx.json", TypeProvenance: "provenance.json"}

// An Artifact is a document about an image, with the manifest that ties it to
// the image.
type Artifact struct {
	Kind     string // its artifact type
	Manifest registry.Manifest
	Blobs    []v1.Layer
}

// Attach makes an artifact of a document.
func Attach(subject v1.Descriptor, kind string, document []byte, annotations map[string]string) (Artifact, error) {
	config := static.NewLayer([]byte("{}"), registry.TypeEmpty)
	payload := static.NewLayer(document, types.MediaType(kind))
	m, err := registry.NewManifest(types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  kind,
		Config:        v1.Descriptor{MediaType: registry.TypeEmpty, Digest: registry.DigestOf([]byte("{}")), Size: 2, Data: []byte("{}")},
		Layers:        []v1.Descriptor{{MediaType: types.MediaType(kind), Digest: registry.DigestOf(document), Size: int64(len(document))}},
		Annotations:   annotations,
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	})
	return Artifact{kind, m, []v1.Layer{config, payload}}, err
}
