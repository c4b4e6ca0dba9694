package buildcache_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestParseManifestReadsAllThatSpackWrites(t *testing.T) {
	for _, name := range []string{"v3-signed", "v3-unsigned"} {
		n := 0
		root := os.DirFS(testdata + name + "/cache")
		err := fs.WalkDir(root, "v3/manifests", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			n++
			m, err := buildcache.ParseManifest(readFile(t, testdata, name, "cache", path))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return nil
			}
			for _, b := range m.Blobs {
				if info, err := fs.Stat(root, b.Key()); err != nil || info.Size() != b.Size {
					t.Errorf("%s: %s: got %v, %v, want %d bytes", path, b.Key(), info, err, b.Size)
				}
			}
			return nil
		})
		if err != nil || n < 30 {
			t.Errorf("%s: %d manifests, %v", name, n, err)
		}
	}
}

func TestParseManifestRefuses(t *testing.T) {
	const good = `{"version":3,"data":[{"contentLength":1,"mediaType":"x/y","compression":"none","checksumAlgorithm":"sha256","checksum":"` +
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" + `"}]}`
	if _, err := buildcache.ParseManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"nothing":          ``,
		"null":             `null`,
		"no blobs":         `{"version":3,"data":[]}`,
		"blobs null":       `{"version":3,"data":null}`,
		"a blob null":      `{"version":3,"data":[null]}`,
		"text after it":    good + `x`,
		"a key twice":      strings.Replace(good, `"version":3`, `"version":3,"version":3`, 1),
		"no version":       strings.Replace(good, `"version":3,`, ``, 1),
		"version 2":        strings.Replace(good, `"version":3`, `"version":2`, 1),
		"version as text":  strings.Replace(good, `"version":3`, `"version":"3"`, 1),
		"no size":          strings.Replace(good, `"contentLength":1,`, ``, 1),
		"negative size":    strings.Replace(good, `:1,`, `:-1,`, 1),
		"fraction of size": strings.Replace(good, `:1,`, `:1.5,`, 1),
		"no type":          strings.Replace(good, `x/y`, ``, 1),
		"compression":      strings.Replace(good, `none`, `xz`, 1),
		"algorithm":        strings.Replace(good, `sha256`, `sha1`, 1),
		"short checksum":   strings.Replace(good, `0123`, ``, 1),
		"upper checksum":   strings.Replace(good, `abcdef`, `ABCDEF`, 1),
		"path as checksum": strings.Replace(good, `0123456789`, `../../../x`, 1),
	} {
		if m, err := buildcache.ParseManifest([]byte(data)); !errors.Is(err, buildcache.ErrFormat) {
			t.Errorf("%s: got %+v, %v; want ErrFormat", name, m, err)
		}
	}
}

func TestKeyHashTakesTheEndOfAKey(t *testing.T) {
	const a, b = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	for key, want := range map[string]buildcache.Hash{
		"build_cache/l-d-x-gcc-12-qs-net-1.3-" + a + ".spec.json.sig":        a,
		"build_cache/l-d-x-gcc-12-qs-net-1.3-" + a + ".spec.json":            a,
		"build_cache/l-d-x/gcc-12/n-1/l-d-x-gcc-12-n-1-" + a + ".spack":      a,
		"v3/manifests/spec/n/n-" + b + "-" + a + ".spec.manifest.json":       a,
		"v3/manifests/spec/n/n-" + b + ".spec.manifest.json/x":               "",
		"build_cache/index.json":                                             "",
		"build_cache/n-1-" + strings.ToUpper(a) + ".spack":                   "",
		"build_cache/n-1-" + a + ".spack.tmp":                                "",
		"build_cache/n-1-" + a[1:] + ".spec.json":                            "",
		"build_cache/n-1-" + a + "a.spec.json":                               "",
		"v3/manifests/key/DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224.key.json": "",
	} {
		if got, ok := buildcache.KeyHash(key); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v", key, got, ok)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	for _, name := range []string{"v3-signed", "v3-unsigned"} {
		for _, glob := range []string{"spec/qs-tls/*", "index/*"} {
			paths, err := fs.Glob(os.DirFS(testdata+name+"/cache/v3/manifests"), glob)
			if err != nil || len(paths) == 0 {
				f.Fatal(paths, err)
			}
			data, err := os.ReadFile(testdata + name + "/cache/v3/manifests/" + paths[0])
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := buildcache.ParseManifest(data)
		if err != nil {
			if !errors.Is(err, buildcache.ErrFormat) {
				t.Fatalf("got %v, want ErrFormat", err)
			}
			return
		}
		if len(m.Blobs) == 0 {
			t.Error("a manifest without blobs")
		}
		for _, b := range m.Blobs {
			if key := b.Key(); b.Size < 0 || !fs.ValidPath(key) || !strings.HasPrefix(key, "blobs/sha256/") || len(key) != len("blobs/sha256/00/")+64 {
				t.Errorf("got %+v with key %q", b, key)
			}
		}
	})
}
