package gateway

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/push"
)

// newKeys makes a pair of keys.
func newKeys(t *testing.T) (*push.Signer, *buildcache.Keyring) {
	t.Helper()
	entity, err := openpgp.NewEntity("Test", "", "test@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	armored := func(kind string, serialize func(io.Writer) error) []byte {
		var b bytes.Buffer
		w, err := armor.Encode(&b, kind, nil)
		if err == nil {
			err = errors.Join(serialize(w), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	signer, err := push.ReadSigner(armored(openpgp.PrivateKeyType, func(w io.Writer) error { return entity.SerializePrivate(w, nil) }))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := buildcache.ReadKeyring(armored(openpgp.PublicKeyType, entity.Serialize))
	if err != nil {
		t.Fatal(err)
	}
	return signer, keys
}

// A handed package is what a build hands over: objects by key, that which names the others last.
type handed struct {
	keys    []string
	objects map[string][]byte
}

// hello takes hello-spack out of a cache that Spack has written.
func hello(t *testing.T, fixture string) (h handed, spec *buildcache.Spec) {
	t.Helper()
	dir := fixtures + fixture + "/cache/"
	get := func(key string) []byte {
		text, err := os.ReadFile(dir + key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	h.objects = map[string][]byte{}
	if strings.HasPrefix(fixture, "v2") {
		spec, keys := helloKeys(t, lockOf(t, fixture), 2)
		h.keys = []string{buildcache.TarballKey(spec), keys[1]}
		for _, key := range h.keys {
			h.objects[key] = get(key)
		}
		return h, spec
	}
	spec, keys := helloKeys(t, lockOf(t, fixture), 3)
	m, err := buildcache.ParseManifest(get(keys[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range m.Blobs {
		h.keys = append(h.keys, b.Key())
	}
	h.keys = append(h.keys, keys[0])
	for _, key := range h.keys {
		h.objects[key] = get(key)
	}
	return h, spec
}

// hand hands a package over, and returns the last status and reply.
func (o *opened) hand(h handed) (status int, reply string) {
	o.t.Helper()
	for _, key := range h.keys {
		var text []byte
		if status, text = o.ask("PUT", "packages/"+key, h.objects[key]); status != 200 {
			return status, string(text)
		}
		reply = strings.TrimSpace(string(text))
	}
	return status, reply
}

func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".lock" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWhatABuildHandsOverIsSignedAndStored(t *testing.T) {
	signer, keys := newKeys(t)
	for _, fixture := range []string{"v2-unsigned", "v3-unsigned"} {
		h, spec := hello(t, fixture)
		to := cacheOf(t, t.TempDir())
		o := open(t, Build{Lock: lockOf(t, fixture), Push: &Destination{Store: to, Signer: signer, Keys: keys}})
		for _, want := range []string{pushed, present} {
			if status, reply := o.hand(h); status != 200 || reply != want {
				t.Fatalf("%s: got %d %s, want %s", fixture, status, reply, want)
			}
		}
		cache, err := buildcache.Open(t.Context(), to, keys)
		if err != nil {
			t.Fatal(err)
		}
		p, err := cache.Find(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		r, err := cache.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		tarball, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(tarball, h.objects[h.keys[0]]) {
			t.Errorf("%s: the tarball: %v", fixture, err)
		}
		if p.SignedBy != signer.Fingerprint() {
			t.Errorf("%s: signed by %q", fixture, p.SignedBy)
		}
	}
}

func TestABuildCannotPushWhatItsLockfileDoesNotSay(t *testing.T) {
	type attack struct {
		fixture string
		change  func(h handed, spec *buildcache.Spec)
	}
	spec := func(old, changed string) func(handed, *buildcache.Spec) {
		return func(h handed, _ *buildcache.Spec) {
			key := h.keys[len(h.keys)-1]
			text := bytes.Replace(h.objects[key], []byte(old), []byte(changed), 1)
			if bytes.Equal(text, h.objects[key]) {
				t.Fatalf("the fixture has no %s", old)
			}
			h.objects[key] = text
		}
	}
	signer, _ := newKeys(t)
	for what, a := range map[string]attack{
		"another tarball": {"v2-unsigned", func(h handed, _ *buildcache.Spec) { h.objects[h.keys[0]] = []byte("x") }},
		"another blob":    {"v3-unsigned", func(h handed, _ *buildcache.Spec) { h.objects[h.keys[0]] = []byte("x") }},
		"a sane archive that the spec file does not name": {"v2-unsigned", func(h handed, s *buildcache.Spec) { h.objects[h.keys[0]] = sane(t, s) }},
		"a sane archive that the manifest does not name":  {"v3-unsigned", func(h handed, s *buildcache.Spec) { h.objects[h.keys[0]] = sane(t, s) }},
		"a sane archive of the manifest's size": {"v3-unsigned", func(h handed, _ *buildcache.Spec) {
			h.objects[h.keys[0]] = bytes.Clone(h.objects[h.keys[0]])
			h.objects[h.keys[0]][4] ^= 1 // the time in gzip's header
		}},
		"another algorithm": {"v2-unsigned", spec(`"hash_algorithm":"sha256"`, `"hash_algorithm":"sha512"`)},
		"another version":   {"v2-unsigned", spec(`"version":"1.1"`, `"version":"1.2"`)},
		"another edge":      {"v2-unsigned", spec(`"link"`, `"build"`)},
		"an external":       {"v2-unsigned", spec(`"namespace":"quickstart"`, `"namespace":"quickstart","external":{"path":"/x"}`)},
		"no nodes":          {"v2-unsigned", spec(`"nodes"`, `"Nodes"`)},
		"no JSON":           {"v2-unsigned", spec(`{`, ``)},
		"another layout":    {"v2-unsigned", spec(`"buildcache_layout_version":2`, `"buildcache_layout_version":1`)},
		"no spec blob":      {"v3-unsigned", spec(`"application/vnd.spack.spec`, `"application/vnd.spack.spek`)},
		"two tarballs":      {"v3-unsigned", spec(`"application/vnd.spack.spec.v5+json`, `"application/vnd.spack.install.v2.tar+gzip`)},
		"a node too many": {"v2-unsigned", func(h handed, s *buildcache.Spec) {
			changeNodes(t, h, func(n []any) []any { return append(n, otherNode(t, s)) })
		}},
		"a node too few": {"v2-unsigned", func(h handed, _ *buildcache.Spec) { changeNodes(t, h, func(n []any) []any { return n[:len(n)-1] }) }},
		"elsewhere": {"v2-unsigned", func(h handed, s *buildcache.Spec) {
			last := h.keys[1]
			h.keys[1] = "build_cache/x-" + string(s.Hash) + ".spec.json"
			h.objects[h.keys[1]] = h.objects[last]
		}},
		"signed by itself": {"v2-unsigned", func(h handed, _ *buildcache.Spec) {
			last := h.keys[1]
			h.keys[1] += ".sig"
			h.objects[h.keys[1]] = h.objects[last]
		}},
		"an index":     {"v2-unsigned", func(h handed, _ *buildcache.Spec) { h.keys[0] = "build_cache/index.json" }},
		"a path":       {"v2-unsigned", func(h handed, s *buildcache.Spec) { h.keys[0] = "build_cache/../../x-" + string(s.Hash) + ".spack" }},
		"the lease":    {"v2-unsigned", func(h handed, _ *buildcache.Spec) { h.keys[0] = ".spacktainers/lease.json" }},
		"no archive":   {"v2-unsigned", func(h handed, _ *buildcache.Spec) { changeTarball(t, h, []byte("no archive")) }},
		"an empty one": {"v2-unsigned", func(h handed, _ *buildcache.Spec) { changeTarball(t, h, archive(t)) }},
		"half a one":   {"v2-unsigned", func(h handed, _ *buildcache.Spec) { changeTarball(t, h, h.objects[h.keys[0]][:200]) }},
		"a second one behind it": {"v2-unsigned", func(h handed, _ *buildcache.Spec) {
			changeTarball(t, h, append(bytes.Clone(h.objects[h.keys[0]]), archive(t, tar.Header{Name: "etc/", Typeflag: tar.TypeDir})...))
		}},
		"another's one": {"v2-unsigned", func(h handed, _ *buildcache.Spec) {
			changeTarball(t, h, archive(t, tar.Header{Name: "opt/x-1-" + strings.Repeat("b", 32) + "/", Typeflag: tar.TypeDir}))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			h, s := hello(t, a.fixture)
			a.change(h, s)
			dir := t.TempDir()
			o := open(t, Build{Lock: lockOf(t, a.fixture), Push: &Destination{Store: cacheOf(t, dir), Signer: signer}})
			if status, reply := o.hand(h); status != 422 || reply == "" || len(o.notes) == 0 {
				t.Errorf("got %d %s %v", status, reply, o.notes)
			}
			if files := filesBelow(t, dir); len(files) > 0 {
				t.Errorf("stored: %v", files)
			}
		})
	}
}

// A package of another lockfile is left out, and breaks nothing: Spack may build some for itself.
func TestAPackageOfNoLockfileIsLeftOut(t *testing.T) {
	h, _ := hello(t, "v2-unsigned")
	dir := t.TempDir()
	text, err := os.ReadFile(fixtures + "v3-unsigned/locks/env-hello.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, Build{Lock: text, Push: &Destination{Store: cacheOf(t, dir)}})
	if status, reply := o.hand(h); status != 200 || reply != unwanted || len(filesBelow(t, dir)) > 0 {
		t.Errorf("got %d %s", status, reply)
	}
}

func changeNodes(t *testing.T, h handed, change func([]any) []any) {
	t.Helper()
	var file map[string]any
	key := h.keys[1]
	if err := json.Unmarshal(h.objects[key], &file); err != nil {
		t.Fatal(err)
	}
	spec := file["spec"].(map[string]any)
	spec["nodes"] = change(spec["nodes"].([]any))
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	h.objects[key] = text
}

// otherNode is a node that no lockfile has.
func otherNode(t *testing.T, s *buildcache.Spec) any {
	t.Helper()
	return map[string]any{"name": "evil", "version": "1", "hash": strings.Repeat("e", 32), "namespace": s.Namespace}
}

// changeTarball hands over another tarball, with a spec file that names it.
func changeTarball(t *testing.T, h handed, tarball []byte) {
	t.Helper()
	sum := sha256.Sum256(h.objects[h.keys[0]])
	changed := sha256.Sum256(tarball)
	h.objects[h.keys[0]] = tarball
	h.objects[h.keys[1]] = bytes.Replace(h.objects[h.keys[1]], []byte(hex.EncodeToString(sum[:])), []byte(hex.EncodeToString(changed[:])), 1)
}

// sane is an archive that is taken for a package's, if it is named.
func sane(t *testing.T, spec *buildcache.Spec) []byte {
	t.Helper()
	home := "opt/hello-spack-1.1-" + string(spec.Hash)
	text := archive(t, tar.Header{Name: home + "/", Typeflag: tar.TypeDir}, tar.Header{Name: home + "/evil", Typeflag: tar.TypeReg, Size: 10})
	if err := checkArchive(bytes.NewReader(text), int64(len(text)), spec); err != nil {
		t.Fatal(err)
	}
	return text
}

// archive makes a tarball of entries without content.
func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		h.Mode = 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestOnlySaneArchivesAreTaken(t *testing.T) {
	_, spec := hello(t, "v2-unsigned")
	home := "opt/software/linux/hello-spack-1.1-" + string(spec.Hash)
	dir := tar.Header{Name: home + "/", Typeflag: tar.TypeDir}
	reg := tar.Header{Name: home + "/bin/x", Typeflag: tar.TypeReg, Size: 10}
	check := func(headers ...tar.Header) error {
		text := archive(t, headers...)
		return checkArchive(bytes.NewReader(text), int64(len(text)), spec)
	}
	above := tar.Header{Name: "opt/software/", Typeflag: tar.TypeDir}
	link := tar.Header{Name: home + "/lib", Linkname: "/etc", Typeflag: tar.TypeSymlink}
	hard := tar.Header{Name: home + "/bin/y", Linkname: home + "/bin/x", Typeflag: tar.TypeLink}
	if err := check(above, dir, reg, hard, link); err != nil {
		t.Error(err)
	}
	for what, headers := range map[string][]tar.Header{
		"nothing":                  {dir, {Name: "opt/x", Typeflag: tar.TypeReg}},
		"an absolute path":         {dir, {Name: "/etc/passwd", Typeflag: tar.TypeReg}},
		"a path that climbs":       {dir, {Name: home + "/../../../../etc/passwd", Typeflag: tar.TypeReg}},
		"a path that climbs first": {dir, {Name: "../x", Typeflag: tar.TypeReg}},
		"a sibling":                {dir, {Name: home + "x/bin", Typeflag: tar.TypeReg}},
		"a file before the folder": {reg, dir},
		"a folder that leads away": {{Name: "etc/", Typeflag: tar.TypeDir}, dir, reg},
		"the same name twice":      {dir, reg, reg},
		"a device":                 {dir, {Name: home + "/null", Typeflag: tar.TypeChar}},
		"a pipe":                   {dir, {Name: home + "/pipe", Typeflag: tar.TypeFifo}},
		"a hard link to elsewhere": {dir, {Name: home + "/x", Linkname: "etc/passwd", Typeflag: tar.TypeLink}},
		"a file below a link":      {dir, link, {Name: home + "/lib/passwd", Typeflag: tar.TypeReg}},
		"a file deep below a link": {dir, link, {Name: home + "/lib/a/b/passwd", Typeflag: tar.TypeReg}},
		"a file below a file":      {dir, reg, {Name: home + "/bin/x/y", Typeflag: tar.TypeReg}},
		"a line of its own":        {dir, {Name: home + "/a\nb", Typeflag: tar.TypeReg}},
	} {
		if err := check(headers...); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	huge := declare(t, dir, tar.Header{Name: home + "/zeros", Typeflag: tar.TypeReg, Size: 1 << 40})
	if err := checkArchive(bytes.NewReader(huge), int64(len(huge)), spec); !errors.Is(err, errTooMuch) {
		t.Errorf("a file of a terabyte: got %v", err)
	}
	if n, err := io.Copy(io.Discard, &bound{r: zeros{}, left: 1 << 20}); !errors.Is(err, errTooMuch) || n > 2<<20 {
		t.Errorf("endless: got %d bytes, %v", n, err)
	}
}

// declare makes an archive that ends behind its last header.
func declare(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every package that Spack has written passes.
func TestWhatSpackWroteIsSane(t *testing.T) {
	for _, fixture := range []string{"v2-unsigned", "v3-unsigned"} {
		store := cacheOf(t, fixtures+fixture+"/cache")
		cache, err := buildcache.Open(t.Context(), store, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"env-a", "env-b", "env-hello"} {
			lock, err := buildcache.ReadLockfile(fixtures + fixture + "/locks/" + name + ".spack.lock")
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range lock.Specs {
				p, err := cache.Find(t.Context(), spec)
				if err != nil {
					continue // external, or not in this cache
				}
				r, err := cache.Open(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				if err := checkArchive(r, p.Size, spec); err != nil {
					t.Errorf("%s: %v", spec, err)
				}
				r.Close()
			}
		}
	}
}
