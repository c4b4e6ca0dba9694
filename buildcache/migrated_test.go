package buildcache_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A migrated cache has both layouts, and nodes of specfile 4 in blobs that
// say 5. A lockfile of the old Spack installs from it.
func TestMigratedCache(t *testing.T) {
	dir := copyOf(t, "v2-signed")
	l := readLock(t, "v2-signed", "env-a")
	specs := closure(l, buildcache.Runtime)
	key := newKey(t, nil)
	keys := keyring(t, key)
	both, err := buildcache.ReadKeyring(public(t, key), readFile(t, armoredKey))
	if err != nil {
		t.Fatal(err)
	}
	left := specs[0] // is not migrated
	old := open(t, dir, nil)
	for _, s := range specs[1:] {
		migrate(t, dir, find(t, old, s), key)
	}

	c := open(t, dir, both)
	if got := c.Layouts(); len(got) != 2 {
		t.Fatalf("got layouts %v", got)
	}
	for _, s := range specs {
		p := find(t, c, s)
		if want := map[bool]int{true: 2, false: 3}[s == left]; p.Layout != want {
			t.Errorf("%s: got layout %d, want %d", s, p.Layout, want)
		}
		if _, err := read(t, c, p); err != nil {
			t.Error(err)
		}
		if root, _, err := c.Spec(t.Context(), p); err != nil || root.Compiler != "gcc@12.2.0" {
			t.Errorf("%s: got %+v, %v", s, root, err)
		}
	}

	if err := os.RemoveAll(dir + "/build_cache"); err != nil {
		t.Fatal(err)
	}
	c = open(t, dir, keys)
	for _, s := range specs[1:] {
		if _, err := findAndRead(t, c, s); err != nil {
			t.Errorf("without the old layout: %v", err)
		}
	}
}

// migrate does what `spack buildcache migrate` does to one package.
func migrate(t *testing.T, dir string, p *buildcache.Package, key *openpgp.Entity) {
	t.Helper()
	signed := string(readFile(t, dir, p.SpecKey))
	text := signed[strings.Index(signed, "{"):strings.Index(signed, "-----BEGIN PGP SIGNATURE")]
	var file map[string]any
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "binary_cache_checksum")
	file["archive_size"] = p.Size
	plain, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	blob := func(data []byte, mediaType string) string {
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		write(t, dir, "blobs/sha256/"+sum[:2]+"/"+sum, data)
		return fmt.Sprintf(`{"contentLength":%d,"mediaType":%q,"compression":"gzip","checksumAlgorithm":"sha256","checksum":%q}`, len(data), mediaType, sum)
	}
	manifest := `{"version":3,"data":[` +
		blob(readFile(t, dir, p.Key), buildcache.MediaTypeTarball) + "," +
		blob(zipped.Bytes(), buildcache.MediaTypeSpec) + "]}"
	s := p.Spec
	write(t, dir, fmt.Sprintf("v3/manifests/spec/%s/%s-%s-%s.spec.manifest.json", s.Name, s.Name, s.Version, s.Hash), sign(t, key, manifest))
}
