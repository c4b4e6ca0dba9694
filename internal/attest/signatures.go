package attest

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Signatures are kept as cosign keeps those that it makes with a key pair: in
// an image under the tag sha256-DIGEST.sig, one layer for each signature.
const (
	typeSimpleSigning   = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	annotationSignature = "dev.cosignproject.cosign/signature"
	signatureKind       = "cosign container image signature"
	optionalBuildKey    = "org.openbraininstitute.spacktainers.build-key"
)

// A Signer signs with a private key.
type Signer struct{ key *ecdsa.PrivateKey }

// A Verifier knows signatures by a public key.
type Verifier struct{ key *ecdsa.PublicKey }

// ReadSigner reads a private key: that of a cosign key pair, which a password
// protects, or a plain one as openssl writes it.
func ReadSigner(path string, password []byte) (*Signer, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	der := block.Bytes
	if strings.HasPrefix(block.Type, "ENCRYPTED ") {
		if der, err = encrypted.Decrypt(block.Bytes, password); err != nil {
			return nil, fmt.Errorf("signing key %s: it does not open: is COSIGN_PASSWORD its password?", path)
		}
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		parsed, pkcs8Err := x509.ParsePKCS8PrivateKey(der)
		if pkcs8Err != nil {
			return nil, fmt.Errorf("signing key %s: it is no private key: cosign generate-key-pair makes one", path)
		}
		var ok bool
		if key, ok = parsed.(*ecdsa.PrivateKey); !ok {
			return nil, fmt.Errorf("signing key %s: it is a %T, want ECDSA: cosign generate-key-pair makes one", path, parsed)
		}
	}
	return &Signer{key}, nil
}

// Verifier knows the signer's own signatures.
func (s *Signer) Verifier() *Verifier { return &Verifier{&s.key.PublicKey} }

// ReadVerifier reads a public key: cosign.pub.
func ReadVerifier(path string) (*Verifier, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key %s: it is a %T, want ECDSA", path, parsed)
	}
	return &Verifier{key}, nil
}

func readPEM(path string) (*pem.Block, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: it is no PEM file", path)
	}
	return block, nil
}

// A simpleSigning is what is signed: "this digest, under this name".
type simpleSigning struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// Sign adds a signature of a manifest to those that are there. It says of which
// build key the manifest is the build.
func Sign(ctx context.Context, c *registry.Client, repository name.Repository, subject v1.Descriptor, buildKey string, signer *Signer) error {
	var content simpleSigning
	if buildKey != "" {
		content.Optional = map[string]any{optionalBuildKey: buildKey}
	}
	content.Critical.Identity.Reference = repository.String()
	content.Critical.Image.Digest = subject.Digest.String()
	content.Critical.Type = signatureKind
	payload, err := json.Marshal(content)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, signer.key, sum[:])
	if err != nil {
		return fmt.Errorf("sign %s: %w", subject.Digest, err)
	}
	tag := SignatureTag(repository, subject.Digest)
	there := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	found, err := c.Get(ctx, tag)
	if err != nil {
		return err
	}
	if found != nil {
		if there, err = found.Image(); err != nil {
			return fmt.Errorf("%s: %w", tag, err)
		}
	}
	signed, err := mutate.Append(there, mutate.Addendum{
		Layer:       static.NewLayer(payload, typeSimpleSigning),
		Annotations: map[string]string{annotationSignature: base64.StdEncoding.EncodeToString(signature)},
	})
	if err != nil {
		return fmt.Errorf("sign %s: %w", subject.Digest, err)
	}
	layers, m, err := registry.ContentOf(signed)
	if err != nil {
		return c.Explain(repository, err)
	}
	blobs, err := c.Missing(ctx, repository, layers)
	if err != nil {
		return err
	}
	if err := c.Upload(ctx, repository, name.Repository{}, blobs); err != nil {
		return err
	}
	return c.Put(ctx, tag, m)
}

// SignatureTag is where cosign looks for the signatures of a digest.
func SignatureTag(repository name.Repository, digest v1.Hash) name.Tag {
	return repository.Tag(digest.Algorithm + "-" + digest.Hex + ".sig")
}

// ErrUnsigned is the error for a manifest without a signature by the key.
var ErrUnsigned = errors.New("not signed by this key")

// CheckSignature looks for a signature of a digest by a key: under the tag that
// cosign 2 keeps them, or attached as cosign 3 does.
func CheckSignature(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, verifier *Verifier) error {
	err := checkSignature(ctx, c, repository, digest, verifier, "")
	if !errors.Is(err, ErrUnsigned) {
		return err
	}
	signed, bundleErr := checkBundles(ctx, c, repository, digest, verifier)
	if signed || bundleErr != nil {
		return bundleErr
	}
	return err
}

// CheckBuild looks for the signed statement that a digest is the build of a
// build key. ErrUnsigned is the error where there is none: labels and tags say
// that too, but anybody who may write to a registry writes those.
func CheckBuild(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, verifier *Verifier, buildKey string) error {
	if buildKey == "" {
		return fmt.Errorf("%s@%s: %w: it has no build key", repository, digest, ErrUnsigned)
	}
	return checkSignature(ctx, c, repository, digest, verifier, buildKey)
}

func checkSignature(ctx context.Context, c *registry.Client, repository name.Repository, digest v1.Hash, verifier *Verifier, buildKey string) error {
	tag := SignatureTag(repository, digest)
	found, err := c.Get(ctx, tag)
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("%s@%s: %w: it has no signature", repository, digest, ErrUnsigned)
	}
	img, err := found.Image()
	if err != nil {
		return fmt.Errorf("%s: %w", tag, err)
	}
	m, err := img.Manifest()
	if err != nil {
		return fmt.Errorf("%s: %w", tag, err)
	}
	for _, layer := range m.Layers {
		if layer.MediaType != typeSimpleSigning || layer.Size > 1<<20 {
			continue
		}
		payload, err := c.Blob(ctx, repository.Digest(layer.Digest.String()))
		if err != nil {
			return c.Explain(repository, fmt.Errorf("read signature %s: %w", tag, err))
		}
		if verifier.signed(payload, layer.Annotations[annotationSignature], digest, buildKey) {
			return nil
		}
	}
	return fmt.Errorf("%s@%s: %w: it has %d others", repository, digest, ErrUnsigned, len(m.Layers))
}

// signed reports whether a payload is about the digest, and the build key if
// one is given, and signed by the key.
func (v *Verifier) signed(payload []byte, signature string, digest v1.Hash, buildKey string) bool {
	raw, err := base64.StdEncoding.DecodeString(signature)
	sum := sha256.Sum256(payload)
	if err != nil || !ecdsa.VerifyASN1(v.key, sum[:], raw) {
		return false
	}
	var content simpleSigning
	return json.Unmarshal(payload, &content) == nil && content.Critical.Type == signatureKind && content.Critical.Image.Digest == digest.String() &&
		(buildKey == "" || content.Optional[optionalBuildKey] == buildKey)
}
