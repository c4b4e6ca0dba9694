package attest

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// cosign 3 keeps a signature as a bundle of sigstore's that is attached to the
// image: an envelope (DSSE) around an in-toto statement whose subject is the
// image.
const (
	bundleType    = "application/vnd.dev.sigstore.bundle" // and its version
	inTotoPayload = "application/vnd.in-toto+json"
	signatureType = "https://sigstore.dev/cosign/sign/v1" // the predicate of a signature; others attest something else
	predicateOf   = "dev.sigstore.bundle.predicateType"
)

// A bundle is what of it is needed to check it by a public key. Certificates
// and transparency logs are not looked at.
type bundle struct {
	Envelope struct {
		Type       string `json:"payloadType"`
		Payload    []byte `json:"payload"`
		Signatures []struct {
			Signature []byte `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
}

// IsSignature reports whether an attached document calls itself a signature: a
// bundle of sigstore's that is no attestation of something else.
func IsSignature(d v1.Descriptor) bool {
	predicate := d.Annotations[predicateOf]
	return strings.HasPrefix(d.ArtifactType, bundleType) && (predicate == "" || predicate == signatureType)
}

// checkBundles looks for a bundle that signs a digest by a key.
func checkBundles(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, verifier *Verifier) (bool, error) {
	attached, err := c.Referrers(ctx, repository.Digest(digest.String()))
	if err != nil {
		return false, err
	}
	for _, d := range attached {
		if !IsSignature(d) {
			continue
		}
		text, err := c.Document(ctx, repository, []v1.Descriptor{d}, d.ArtifactType)
		if err != nil {
			return false, err
		}
		if text != nil && verifier.signedBundle(text, digest) {
			return true, nil
		}
	}
	return false, nil
}

// signedBundle reports whether a bundle is about the digest and signed by the
// key.
func (v *Verifier) signedBundle(text []byte, digest v1.Hash) bool {
	var b bundle
	if json.Unmarshal(text, &b) != nil || b.Envelope.Type != inTotoPayload {
		return false
	}
	sum := sha256.Sum256(preAuthentication(b.Envelope.Type, b.Envelope.Payload))
	signed := false
	for _, s := range b.Envelope.Signatures {
		signed = signed || ecdsa.VerifyASN1(v.key, sum[:], s.Signature)
	}
	var statement struct {
		Type      string     `json:"_type"`
		Subject   []resource `json:"subject"`
		Predicate string     `json:"predicateType"`
	}
	if !signed || json.Unmarshal(b.Envelope.Payload, &statement) != nil || statement.Type != statementType || statement.Predicate != signatureType {
		return false
	}
	return slices.ContainsFunc(statement.Subject, func(s resource) bool { return s.Digest[digest.Algorithm] == digest.Hex })
}

// preAuthentication is what DSSE signs of a payload.
func preAuthentication(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}
