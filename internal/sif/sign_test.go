package sif

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// keyPair writes a new key into two files, the private one under a passphrase.
func keyPair(t *testing.T, passphrase string) (private, public string) {
	t.Helper()
	key, err := openpgp.NewEntity("SIF test", "", "sif@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	public = filepath.Join(t.TempDir(), "public.asc")
	writeArmored(t, public, openpgp.PublicKeyType, func(w *bytes.Buffer) error { return key.Serialize(w) })
	if passphrase != "" {
		if err := key.EncryptPrivateKeys([]byte(passphrase), nil); err != nil {
			t.Fatal(err)
		}
	}
	private = filepath.Join(t.TempDir(), "private.asc")
	writeArmored(t, private, openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return key.SerializePrivateWithoutSigning(w, nil) })
	return private, public
}

func writeArmored(t *testing.T, path, kind string, write func(*bytes.Buffer) error) {
	t.Helper()
	var plain, text bytes.Buffer
	if err := write(&plain); err != nil {
		t.Fatal(err)
	}
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestApptainerVerifiesOurSignature(t *testing.T) {
	a := needApptainer(t)
	t.Setenv("APPTAINER_CONFIGDIR", t.TempDir())
	private, public := keyPair(t, "open sesame")
	signer, err := ReadSigner(private, "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	b := native(t)
	b.Signer = signer
	tree, record := put(t, "amd64", v1.Config{}, layerOf(t, regular("a", "a")))
	r, _, err := b.Build(t.Context(), tree, record, "")
	if err != nil {
		t.Fatal(err)
	}
	sif := b.Folder.Path(r.File)
	if r.SignedBy != signer.Fingerprint() || len(r.SignedBy) != 40 {
		t.Errorf("the record says signed by %q", r.SignedBy)
	}
	if _, err := a.try("verify", "--local", sif); err == nil {
		t.Error("apptainer verifies it without the key")
	}
	a.run("key", "import", public)
	a.run("verify", "--local", sif)
	if _, built, err := b.Build(t.Context(), tree, record, ""); err != nil || built {
		t.Errorf("what was signed is built again: %v, %v", built, err)
	}
	b.Signer = nil
	if _, built, err := b.Build(t.Context(), tree, record, ""); err != nil || !built {
		t.Errorf("without a signature it is another file: %v, %v", built, err)
	}

	b.Signer = signer
	if _, _, err := b.Build(t.Context(), tree, record, ""); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(sif)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte("bootstrap: oci"))] ^= 1
	if err := os.WriteFile(sif, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := a.try("verify", "--local", sif); err == nil {
		t.Error("apptainer verifies a damaged file")
	}
}

func TestKeysThatCannotSign(t *testing.T) {
	private, public := keyPair(t, "open sesame")
	for want, give := range map[string][2]string{
		"set SIF_KEY_PASSPHRASE": {private, ""},
		"does not open it":       {private, "wrong"},
		"no private key":         {public, ""},
		"no such file":           {"nowhere.asc", ""},
	} {
		_, err := ReadSigner(give[0], give[1])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the passphrase is in %v", err)
		}
	}
}
