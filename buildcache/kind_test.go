package buildcache_test

import (
	"io/fs"
	"os"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Every object that Spack itself wrote is of a known kind, and of the kind that its folder says.
func TestKindOfKnowsWhatSpackWrites(t *testing.T) {
	for _, name := range []string{"v2-signed", "v2-unsigned", "v3-signed", "v3-unsigned"} {
		n := map[buildcache.Kind]int{}
		err := fs.WalkDir(os.DirFS("../testdata/spack/"+name+"/cache"), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				kind := buildcache.KindOf(path)
				if n[kind]++; kind == buildcache.Unknown || kind == buildcache.Foreign {
					t.Errorf("%s: %s is %s", name, path, kind)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if packages := n[buildcache.SpecFile] + n[buildcache.SpecManifest]; packages < 25 {
			t.Errorf("%s: got %d packages of %v", name, packages, n)
		}
	}
}

func TestKindOfKeepsWhatItDoesNotKnow(t *testing.T) {
	const hash = "dtrhpa3diekywjrjnxh4yvgpyr2qbc7v"
	stem := "linux-rhel7-x86_64-gcc-7.3.0-zlib-1.2.11-" + hash
	for _, key := range []string{
		"build_cache/" + stem + ".spec.yaml",
		"build_cache/" + stem + ".spec.yaml.sig",
		"build_cache/" + stem + ".spec.json.asc",
		"build_cache/" + stem + ".spec",
		"build_cache/" + stem,
		"build_cache/linux/" + stem + ".spack.asc",
		"build_cache/linux/" + stem + ".tar.zst",
		"v3/manifests/spec/zlib/zlib-1.2.11-" + hash + ".spec.manifest.json.sig",
		"v3/manifests/spec/zlib/zlib-1.2.11-" + hash + ".cdx.json",
	} {
		if got := buildcache.KindOf(key); got != buildcache.Unknown {
			t.Errorf("%s is %s, want unknown", key, got)
		}
		if got, _ := buildcache.UnknownHash(key); got != hash {
			t.Errorf("%s: got the hash %q", key, got)
		}
	}
	for key, want := range map[string]buildcache.Kind{
		"build_cache/index.json.bak": buildcache.Unknown,
		"build_cache/notes":          buildcache.Unknown,
		"blobs/sha512/ab/abcd":       buildcache.Unknown,
		"blobs/sha256/ab/cd":         buildcache.Unknown,
		"v3/README":                  buildcache.Unknown,
		"v3/manifests/spec/":         buildcache.Foreign, // a folder's marker
		"blobs/":                     buildcache.Foreign,
		"":                           buildcache.Foreign,
		"sources/zlib.tar.gz":        buildcache.Foreign,
		"v3/manifests/index/a/b/index.manifest.json": buildcache.IndexManifest,
		"v3/manifests/sbom/x.sbom.manifest.json":     buildcache.OtherManifest,
	} {
		if got := buildcache.KindOf(key); got != want {
			t.Errorf("%q is %s, want %s", key, got, want)
		}
		if got, ok := buildcache.UnknownHash(key); ok {
			t.Errorf("%q: got the hash %q", key, got)
		}
	}
}

func TestNewerLayout(t *testing.T) {
	for key, want := range map[string]bool{
		"v4/manifests/x": true, "v10/a": true, "v2/x": true, "v3/x": false, "v/x": false, "v4": false, "vx/y": false, "build_cache/v4/x": false,
	} {
		if got := buildcache.NewerLayout(key); got != want {
			t.Errorf("%s: got %v", key, got)
		}
	}
}
