package push_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/openbraininstitute/spacktainers/buildcache/push"
)

// GnuPG 2.2 does not find the end of a signature whose length is a multiple of three, which base64
// does not pad, unless a checksum stands behind it. One signature in 256 is so by its value; keys of
// these sizes make one of each remainder.
func TestGnuPGAcceptsSignaturesOfEveryLength(t *testing.T) {
	checksum := regexp.MustCompile(`\n=[A-Za-z0-9+/]{4}\n-----END PGP SIGNATURE-----\n$`)
	remainders := map[int]bool{}
	gpg := newGPG(t)
	for bits := 2048; len(remainders) < 3 && bits <= 2128; bits += 8 { // one signature in 256 is a byte shorter than its key
		entity, err := openpgp.NewEntity("test", "", "test@example.org", &packet.Config{RSABits: bits})
		if err != nil {
			t.Fatal(err)
		}
		var private, public bytes.Buffer
		armored(t, &private, openpgp.PrivateKeyType, func(w io.Writer) error { return entity.SerializePrivate(w, nil) })
		armored(t, &public, openpgp.PublicKeyType, entity.Serialize)
		signer, err := push.ReadSigner(private.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte("{\n-----BEGIN PGP SIGNATURE-----\n}"))
		if err != nil {
			t.Fatal(err)
		}
		if !checksum.Match(signed) {
			t.Errorf("%d bits: no checksum:\n%s", bits, signed)
		}
		block, err := armor.Decode(bytes.NewReader(signed[bytes.LastIndex(signed, []byte("-----BEGIN")):]))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, block.Body)
		if err != nil {
			t.Fatal(err)
		}
		remainders[int(n)%3] = true

		dir := t.TempDir()
		for name, text := range map[string][]byte{"key": public.Bytes(), "text": signed} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		gpg("--import", filepath.Join(dir, "key"))
		gpg("--verify", filepath.Join(dir, "text"))
	}
	if len(remainders) != 3 {
		t.Errorf("tried lengths of these remainders only: %v", remainders)
	}
}

func armored(t *testing.T, to io.Writer, kind string, serialize func(io.Writer) error) {
	t.Helper()
	w, err := armor.Encode(to, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
