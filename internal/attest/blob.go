package attest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// SignBlob signs a content as cosign sign-blob does: in base64, of its SHA-256 digest. It is checked
// by cosign verify-blob --key=cosign.pub --signature=FILE.
func (s *Signer) SignBlob(content []byte) (string, error) {
	sum := sha256.Sum256(content)
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	return base64.StdEncoding.EncodeToString(signature), err
}
