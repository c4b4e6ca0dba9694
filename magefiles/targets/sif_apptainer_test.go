package targets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Podman runs the image with apptainer in it with all rights: where releases are signed it is the
// signed one, by digest.
func TestTheImageThatRunsApptainerIsSignedWhereReleasesAre(t *testing.T) {
	s := openShop(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "cosign.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	writeFile(t, "cosign.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	config := fmt.Sprintf("registries:\n- {prefix: %s/org/spack-}\n", s.staging)
	found := func(text string) (string, error) {
		writeFile(t, ConfigFile, text)
		a, err := start()
		if err != nil {
			t.Fatal(err)
		}
		return a.singularitah(t.Context())
	}
	if got, err := found(config); err != nil || got != s.staging+"/org/spack-singularitah" {
		t.Errorf("without a key: %q, %v", got, err)
	}
	signed := config + "image_key: cosign.pub\n"
	if got, err := found(signed); err == nil || got != "" || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("nothing there: %q, %v", got, err)
	}
	client, err := registry.NewClient(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(s.staging + "/org/spack-singularitah:latest")
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.PushImage(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}
	if got, err := found(signed); !errors.Is(err, attest.ErrUnsigned) || got != "" || !strings.Contains(err.Error(), "--engine=native") {
		t.Errorf("unsigned: %q, %v", got, err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := attest.ReadSigner("cosign.key", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := attest.Sign(t.Context(), client, ref.Context(), v1.Descriptor{Digest: digest}, "", signer); err != nil {
		t.Fatal(err)
	}
	if got, err := found(signed); err != nil || got != ref.Context().Digest(digest.String()).String() {
		t.Errorf("signed: %q, %v", got, err)
	}
}
