package publish_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// bundleOf is what cosign 3 attaches to an image that it signs, with the
// envelope made by DSSE's own library.
func bundleOf(t *testing.T, key *ecdsa.PrivateKey, digest v1.Hash, predicate string) []byte {
	t.Helper()
	payload := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, digest.Hex, predicate)
	sum := sha256.Sum256(dsse.PAE("application/vnd.in-toto+json", payload))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": "x"}},
		"dsseEnvelope": map[string]any{"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []map[string]any{{"sig": signature}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBundlesOfCosign3AreSignatures(t *testing.T) {
	ctx := context.Background()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	verifier, err := attest.ReadVerifier(path)
	if err != nil {
		t.Fatal(err)
	}
	const sign, other = "https://sigstore.dev/cosign/sign/v1", "https://spdx.dev/Document"
	for what, c := range map[string]struct {
		predicate string
		wrong     bool // about something else
		signed    bool
	}{
		"a signature":                   {sign, false, true},
		"a signature of something else": {sign, true, false},
		"an attestation":                {other, false, false},
	} {
		t.Run(what, func(t *testing.T) {
			host := registrytest.Memory(t, nil, memory.WithReferrersSupport(true)).Host
			repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
			tree := image.Tree(t.TempDir())
			build(t, tree, container{name: "tool", version: "1.0"})
			plan := push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
			subjects := []v1.Descriptor{{MediaType: types.OCIImageIndex, Digest: plan.Digest, Size: 1}}
			shown, err := inspect.Show(ctx, client, repository.Tag("latest"))
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range shown.Images {
				subjects = append(subjects, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: img.Digest, Size: 1})
			}
			for _, subject := range subjects {
				about := subject.Digest
				if c.wrong {
					about = registry.DigestOf([]byte("something else"))
				}
				a, err := attest.Attach(subject, "application/vnd.dev.sigstore.bundle.v0.3+json", bundleOf(t, key, about, c.predicate), nil)
				if err != nil {
					t.Fatal(err)
				}
				blobs, err := client.Missing(ctx, repository, a.Blobs)
				if err == nil {
					err = client.Upload(ctx, repository, name.Repository{}, blobs)
				}
				if err == nil {
					err = client.Put(ctx, repository.Digest(a.Manifest.Digest.String()), a.Manifest)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			verified, err := publish.Verify(ctx, client, repository.Tag("latest"), verifier)
			if (err == nil && verified.Signed) != c.signed || err != nil && !errors.Is(err, attest.ErrUnsigned) {
				t.Errorf("verified %+v, %v", verified, err)
			}
			if shown, err = inspect.Show(ctx, client, repository.Tag("latest")); err != nil || c.signed && !shown.Images[0].Signed {
				t.Errorf("shown %+v, %v", shown, err)
			}
		})
	}
}
