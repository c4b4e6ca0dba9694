package buildcache_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestReadKeyringTakesTheKeysThatCachesHold(t *testing.T) {
	m, err := buildcache.ParseManifest(readFile(t, keyManifest))
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Blob(buildcache.KeyBlob)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{readFile(t, armoredKey), readFile(t, testdata, "v3-signed/cache", b.Key())} {
		k, err := buildcache.ReadKeyring(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Fingerprints(); !slices.Equal(got, []string{fixtureKey}) {
			t.Errorf("got %v, want %s", got, fixtureKey)
		}
	}
}

func TestReadKeyringReadsEveryBlock(t *testing.T) {
	a, b := newKey(t, nil), newKey(t, nil)
	k, err := buildcache.ReadKeyring(append(public(t, a), public(t, b)...), readFile(t, armoredKey))
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Fingerprints(); len(got) != 3 || got[2] != fixtureKey {
		t.Errorf("got %v, want three keys", got)
	}
	for _, key := range []*openpgp.Entity{a, b} {
		if _, _, err := k.Verify(sign(t, key, "text")); err != nil {
			t.Error(err)
		}
	}
}

func TestReadKeyringRefuses(t *testing.T) {
	whole := readFile(t, armoredKey)
	for name, texts := range map[string][][]byte{
		"nothing":           nil,
		"an empty file":     {nil},
		"no key":            {[]byte("not found")},
		"half a key":        {whole[:len(whole)/2]},
		"one without a key": {whole, []byte("{}")},
		"a private key":     {private(t, newKey(t, nil))},
	} {
		if k, err := buildcache.ReadKeyring(texts...); err == nil {
			t.Errorf("%s: got keys %v", name, k.Fingerprints())
		}
	}
}

func TestVerify(t *testing.T) {
	hour := uint32(3600)
	mine, stranger := newKey(t, nil), newKey(t, nil)
	expired := newKey(t, &packet.Config{KeyLifetimeSecs: hour, Time: func() time.Time { return time.Now().Add(-48 * time.Hour) }})
	late := newKey(t, &packet.Config{KeyLifetimeSecs: hour, Time: func() time.Time { return time.Now().Add(-48 * time.Hour) }})
	revoked := newKey(t, nil)
	keys := keyring(t, mine, expired, late, revoke(t, revoked))
	text := "{\n- \"dashes\": 1 \t\n}"

	got, signer, err := keys.Verify(sign(t, mine, text))
	if err != nil {
		t.Fatal(err)
	}
	if want := "{\r\n- \"dashes\": 1\r\n}"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := fingerprintOf(mine); signer != want {
		t.Errorf("signed by %s, want %s", signer, want)
	}
	if _, _, err := keys.Verify(signAt(t, mine, text, time.Now().Add(time.Minute))); err != nil {
		t.Errorf("signed on a clock that is a little ahead: %v", err)
	}
	if _, _, err := keys.Verify(signAt(t, expired, text, time.Now().Add(-47*time.Hour-30*time.Minute))); err != nil {
		t.Errorf("signed before the key expired: %v", err)
	}

	for name, tt := range map[string]struct {
		data []byte
		say  string
	}{
		"no text":              {nil, "not signed"},
		"unsigned":             {[]byte(text), "not signed"},
		"unknown key":          {sign(t, stranger, text), fingerprintOf(stranger)},
		"forged":               {bytes.Replace(sign(t, mine, text), []byte(": 1"), []byte(": 2"), 1), fingerprintOf(mine)},
		"signed after expiry":  {signAt(t, late, text, time.Now().Add(-time.Hour)), "expired"},
		"by a revoked key":     {sign(t, revoked, text), "revoked"},
		"text around it":       {append(sign(t, mine, text), text...), "after"},
		"two messages":         {append(append(sign(t, mine, text), '\n'), sign(t, mine, text)...), "after"},
		"cut off":              {sign(t, mine, text)[:150], ""},
		"from the future":      {signAt(t, mine, text, time.Now().Add(time.Hour)), "from the future"},
		"signature taken away": {bytes.Split(sign(t, mine, text), []byte("-----BEGIN PGP SIGNATURE"))[0], "cut off"},
	} {
		if got, _, err := keys.Verify(tt.data); !errors.Is(err, buildcache.ErrSignature) || !strings.Contains(err.Error(), tt.say) || got != nil {
			t.Errorf("%s: got %q, %v; want ErrSignature with %q", name, got, err, tt.say)
		}
	}
}

// GnuPG has signed the same text with one key, once with each hash.
func TestVerifyRefusesSHA1(t *testing.T) {
	key := readFile(t, "testdata/gpg/key.pub")
	keys, err := buildcache.ReadKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := keys.Verify(readFile(t, "testdata/gpg/SHA512.asc")); err != nil {
		t.Error(err)
	}
	if _, _, err := keys.Verify(readFile(t, "testdata/gpg/SHA1.asc")); !errors.Is(err, buildcache.ErrSignature) || !strings.Contains(err.Error(), "made with SHA-1") {
		t.Errorf("got %v", err)
	}
}

func TestFindRefusesAnUnknownKey(t *testing.T) {
	for _, name := range []string{"v2-signed", "v3-signed"} {
		c := open(t, testdata+name+"/cache", keyring(t, newKey(t, nil)))
		_, err := c.Find(t.Context(), closure(readLock(t, name, "env-a"), buildcache.Runtime)[0])
		if !errors.Is(err, buildcache.ErrSignature) || !strings.Contains(err.Error(), fixtureKey) || !strings.Contains(err.Error(), "add its public key") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func newKey(t *testing.T, c *packet.Config) *openpgp.Entity {
	t.Helper()
	if c == nil {
		c = &packet.Config{}
	}
	c.Algorithm = packet.PubKeyAlgoEdDSA
	e, err := openpgp.NewEntity("test", "", "test@example.org", c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func revoke(t *testing.T, e *openpgp.Entity) *openpgp.Entity {
	t.Helper()
	if err := e.RevokeKey(packet.KeyCompromised, "lost", nil); err != nil {
		t.Fatal(err)
	}
	return e
}

func keyring(t *testing.T, entities ...*openpgp.Entity) *buildcache.Keyring {
	t.Helper()
	var texts [][]byte
	for _, e := range entities {
		texts = append(texts, public(t, e))
	}
	k, err := buildcache.ReadKeyring(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t *testing.T, e *openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

func private(t *testing.T, e *openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.SerializePrivate(w, nil), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sign(t *testing.T, e *openpgp.Entity, text string) []byte {
	t.Helper()
	return signAt(t, e, text, time.Now())
}

func signAt(t *testing.T, e *openpgp.Entity, text string, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, e.PrivateKey, &packet.Config{DefaultHash: crypto.SHA512, Time: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fingerprintOf(e *openpgp.Entity) string {
	return fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
}
