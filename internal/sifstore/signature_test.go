package sifstore

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// signer makes a key and returns it as the two sides have it.
func signer(t *testing.T) (*sif.Signer, openpgp.EntityList, *openpgp.Entity) {
	t.Helper()
	key, err := openpgp.NewEntity("SIF test", "", "sif@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	write := func(kind string, serialize func(*bytes.Buffer) error) string {
		var plain, text bytes.Buffer
		if err := serialize(&plain); err != nil {
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
		path := filepath.Join(t.TempDir(), "key.asc")
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	private, err := sif.ReadSigner(write(openpgp.PrivateKeyType, func(w *bytes.Buffer) error { return key.SerializePrivateWithoutSigning(w, nil) }), "")
	if err != nil {
		t.Fatal(err)
	}
	public, err := ReadTrusted(write(openpgp.PublicKeyType, func(w *bytes.Buffer) error { return key.Serialize(w) }))
	if err != nil {
		t.Fatal(err)
	}
	return private, public, key
}

// signedStore holds one SIF, and its manifest signed.
func signedStore(t *testing.T, keys Keys) (store *file.Store, path string) {
	t.Helper()
	store, f := file.New(t.TempDir()), sif.Folder(t.TempDir())
	u := Uploader{From: f, To: store, Keys: keys, Now: timeOf(today)}
	plan, err := u.Plan(t.Context(), fake(t, f, "tool", "1.0", "", "amd64", []byte("content")))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	return store, filepath.Join(store.String(), "tool.json")
}

func TestSignedManifestsAreInstalled(t *testing.T) {
	private, public, _ := signer(t)
	store, path := signedStore(t, Keys{Signer: private})
	in := Installer{From: store, Dir: t.TempDir(), Keys: Keys{Trusted: public}}
	install(t, in, map[string]string{"tool__1.0.sif": StateNew})
	install(t, in, map[string]string{"tool__1.0.sif": StateSame})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var plain struct {
		Newest map[string]struct{ File string }
	}
	if err := json.Unmarshal(text, &plain); err != nil || plain.Newest["linux/amd64"].File != "tool__1.0.sif" {
		t.Errorf("for everybody else it is no plain JSON: %+v, %v", plain, err)
	}
	install(t, Installer{From: store, Dir: t.TempDir()}, map[string]string{"tool__1.0.sif": StateNew}) // who asks for no key needs none
}

// Whatever is changed in a signed manifest, what comes out is what was signed, or nothing.
func TestAChangeOfASignedManifestIsRefused(t *testing.T) {
	private, public, _ := signer(t)
	_, path := signedStore(t, Keys{Signer: private})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseManifest(text, Keys{Trusted: public}, "tool")
	if err != nil {
		t.Fatal(err)
	}
	want.Signature = nil
	check := func(what string, text []byte) {
		got, err := parseManifest(text, Keys{Trusted: public}, "tool")
		if err != nil {
			return
		}
		got.Signature = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is believed: %s", what, diff)
		}
	}
	for i := range text {
		for _, flip := range []byte{1, 0x20} {
			changed := bytes.Clone(text)
			changed[i] ^= flip
			check("a flipped bit", changed)
		}
		check("a missing byte", append(bytes.Clone(text[:i]), text[i+1:]...))
	}
	sum := want.Files[0].SHA256
	for what, add := range map[string]string{
		"a member before the others": `{"name": "tool", "files": [], "newest": {}, "signature": "", `,
		"a member of another case":   `{"FILES": [{"sha256": "` + sum[32:] + sum[:32] + `"}], `,
	} {
		check(what, append([]byte(add), text[1:]...))
		check(what, append(append(bytes.TrimRight(bytes.Clone(text), "}\n"), ", "...), append([]byte(add[1:len(add)-2]), '}')...))
	}
}

func TestManifestsThatAreNotSignedAsAskedForAreRefused(t *testing.T) {
	private, public, key := signer(t)
	other, _, _ := signer(t)
	unsigned, _ := signedStore(t, Keys{})
	foreign, _ := signedStore(t, Keys{Signer: other})
	weak, path := signedStore(t, Keys{Signer: private})
	weaken(t, path, key)
	renamed, path := signedStore(t, Keys{Signer: private})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(renamed.String(), "other.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		store *file.Store
		names []string
		want  string
	}{
		"unsigned": {unsigned, nil, "has no signature"}, "another key": {foreign, nil, "is not one of the configured keys"}, "SHA-1": {weak, nil, "is not one of the configured keys"},
		"another container's": {renamed, []string{"other"}, `it is the manifest of "tool"`},
	} {
		_, err := Installer{From: c.store, Dir: t.TempDir(), Names: c.names, Keys: Keys{Trusted: public}}.Plan(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// weaken signs a manifest again, over SHA-1.
func weaken(t *testing.T, path string, key *openpgp.Entity) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := (Keys{Trusted: openpgp.EntityList{key}}).verify(text)
	if err != nil {
		t.Fatal(err)
	}
	signature := packet.Signature{Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PrimaryKey.PubKeyAlgo, Hash: crypto.SHA1, CreationTime: key.PrimaryKey.CreationTime, IssuerKeyId: &key.PrimaryKey.KeyId}
	h := sha1.New()
	h.Write(signed)
	if err := signature.Sign(h, key.PrivateKey, &packet.Config{NonDeterministicSignaturesViaNotation: new(bool)}); err != nil {
		t.Fatal(err)
	}
	var armored bytes.Buffer
	w, err := armor.Encode(&armored, openpgp.SignatureType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(signature.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := openpgp.CheckArmoredDetachedSignature(openpgp.EntityList{key}, bytes.NewReader(signed), bytes.NewReader(armored.Bytes()), &packet.Config{RejectMessageHashAlgorithms: map[crypto.Hash]bool{}}); err != nil {
		t.Fatal("it is not even a signature: ", err)
	}
	encoded, err := json.Marshal(armored.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(signed, []byte(`"signature": ""`), append([]byte(`"signature": `), encoded...), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Who writes to a signed store signs, and first checks what is there: or else what somebody has put
// there would get the signature.
func TestASignedStoreStaysSigned(t *testing.T) {
	private, public, _ := signer(t)
	other, _, _ := signer(t)
	store, path := signedStore(t, Keys{Signer: private})
	f := sif.Folder(t.TempDir())
	next := fake(t, f, "tool", "1.1", "", "amd64", []byte("next"))
	send := func(store Store, keys Keys) error {
		u := Uploader{From: f, To: store, Keys: keys, Now: timeOf(today)}
		plan, err := u.Plan(t.Context(), next)
		if err != nil {
			return err
		}
		return u.Apply(t.Context(), plan)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string]Keys{"without a key": {}, "with the public key alone": {Trusted: public}, "with another key": {Signer: other}, "with one that is not trusted": {Trusted: public, Signer: other}} {
		if err := send(store, keys); err == nil {
			t.Errorf("uploaded %s", name)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: the manifest is another one, %v", name, err)
		}
	}
	_, err = NewCleaning(t.Context(), store, Keys{Signer: other}, Retention{Branches: []string{"main"}, KeepLast: 1, Now: today})
	if !errors.Is(err, errAltered) {
		t.Errorf("clean with another key: %v", err)
	}
	if err := send(store, Keys{Trusted: public, Signer: private}); err != nil {
		t.Error(err)
	}
	install(t, Installer{From: store, Dir: t.TempDir(), Keys: Keys{Trusted: public}}, map[string]string{"tool__1.0.sif": StateNew, "tool__1.1.sif": StateNew})

	unsigned, _ := signedStore(t, Keys{})
	if err := send(unsigned, Keys{Signer: private}); !errors.Is(err, errUnsigned) {
		t.Errorf("an unsigned one gets a signature: %v", err)
	}
	if err := send(unsigned, Keys{Signer: private, Adopt: true}); err != nil {
		t.Error(err)
	}
	install(t, Installer{From: unsigned, Dir: t.TempDir(), Keys: Keys{Trusted: public}}, map[string]string{"tool__1.0.sif": StateNew, "tool__1.1.sif": StateNew})
}

// An old manifest, put back, would bring back what was wrong with what it names.
func TestAnOlderManifestIsRefused(t *testing.T) {
	private, public, _ := signer(t)
	keys := Keys{Trusted: public, Signer: private}
	store, path := signedStore(t, keys)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := sif.Folder(t.TempDir())
	u := Uploader{From: f, To: store, Keys: keys, Now: timeOf(today.AddDate(0, 0, 1))}
	plan, err := u.Plan(t.Context(), fake(t, f, "tool", "1.1", "", "amd64", []byte("next")))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	in := Installer{From: store, Dir: t.TempDir(), Keys: Keys{Trusted: public}, Newest: true}
	install(t, in, map[string]string{"tool__1.1.sif": StateNew})
	if err := os.WriteFile(path, old, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{nil, {"tool"}} {
		in.Names = names
		if _, err := in.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "--allow-older") {
			t.Errorf("an old one: %v", err)
		}
	}
	in.AllowOlder = true
	install(t, in, map[string]string{"tool__1.0.sif": StateNew})
	in.AllowOlder = false
	install(t, in, map[string]string{"tool__1.0.sif": StateSame})
}

// Cleaning a folder changes its manifest, which makes that of the store no older.
func TestACleanedFolderIsInstalledAgain(t *testing.T) {
	store, _ := honest(t)
	f := sif.Folder(t.TempDir())
	upload(t, store, f, fake(t, f, "tool", "1.1", "", "amd64", []byte("next")), today.AddDate(0, 0, 1))
	dir := t.TempDir()
	in := Installer{From: store, Dir: dir}
	install(t, in, map[string]string{"tool__1.0.sif": StateNew, "tool__1.1.sif": StateNew})
	for range 3 {
		plan, err := NewCleaning(t.Context(), file.New(dir), Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, Now: today.AddDate(1, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Apply(t.Context(), file.New(dir)); err != nil {
			t.Fatal(err)
		}
		install(t, in, map[string]string{"tool__1.0.sif": StateNew, "tool__1.1.sif": StateSame})
	}
}
