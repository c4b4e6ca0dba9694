package keypair_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/keypair"
	"github.com/openbraininstitute/spacktainers/internal/sif"
)

// What is made is what those who sign and check read, with the right passphrase alone.
func TestKeysAreReadByThoseWhoSignAndCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	images, err := keypair.Cosign("secret")
	if err != nil {
		t.Fatal(err)
	}
	sifs, err := keypair.OpenPGP("SIFs of a site", "passphrase")
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string]keypair.Pair{"images": images, "sifs": sifs} {
		if err := pair.Write(dir, name); err != nil {
			t.Fatal(err)
		}
		if err := pair.Write(dir, name); err == nil || !strings.Contains(err.Error(), "a key is not replaced") {
			t.Errorf("%s was written over: %v", name, err)
		}
		info, err := os.Stat(filepath.Join(dir, name+".key"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := attest.ReadSigner(dir+"/images.key", []byte("secret")); err != nil {
		t.Error(err)
	}
	if _, err := attest.ReadSigner(dir+"/images.key", []byte("other")); err == nil {
		t.Error("another password opens the key")
	}
	if _, err := attest.ReadVerifier(dir + "/images.pub"); err != nil {
		t.Error(err)
	}
	if _, err := sif.ReadSigner(dir+"/sifs.key", "passphrase"); err != nil {
		t.Error(err)
	}
	if _, err := sif.ReadSigner(dir+"/sifs.key", "other"); err == nil {
		t.Error("another passphrase opens the key")
	}
	if _, err := buildcache.ReadKeyring(sifs.Public); err != nil {
		t.Error(err)
	}
}
