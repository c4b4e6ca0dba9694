package buildcache_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

const (
	testdata    = "../testdata/spack/"
	fixtureKey  = "DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224"
	allEdges    = buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test
	armoredKey  = testdata + "v2-signed/cache/build_cache/_pgp/" + fixtureKey + ".pub"
	keyManifest = testdata + "v3-signed/cache/v3/manifests/key/" + fixtureKey + ".key.manifest.json"
)

var fixtures = []string{"v2-signed", "v2-unsigned", "v3-signed", "v3-unsigned"}

func TestRuntimeClosuresAreFoundAndRead(t *testing.T) {
	for _, name := range fixtures {
		for _, env := range []string{"env-a", "env-b", "env-hello"} {
			t.Run(name+"/"+env, func(t *testing.T) {
				keys := fixtureKeys(t)
				if strings.HasSuffix(name, "-unsigned") {
					keys = nil
				}
				c := open(t, testdata+name+"/cache", keys)
				l := readLock(t, name, env)
				for _, s := range closure(l, buildcache.Runtime) {
					p := find(t, c, s)
					if p.Spec != s || p.Compression != "gzip" || p.Algorithm != "sha256" || p.Layout != c.Layouts()[0] {
						t.Errorf("got %+v", p)
					}
					if want := map[bool]string{true: fixtureKey}[keys != nil]; p.SignedBy != want {
						t.Errorf("%s: signed by %q, want %q", s, p.SignedBy, want)
					}
					data, err := read(t, c, p)
					if err != nil {
						t.Fatal(err)
					}
					if int64(len(data)) != p.Size || data[0] != 0x1f || data[1] != 0x8b {
						t.Errorf("%s: got %d bytes % x…, want %d of gzip", s, len(data), data[:2], p.Size)
					}
				}
			})
		}
	}
}

func TestSpecReadsTheWholeDAG(t *testing.T) {
	for _, name := range fixtures {
		c := open(t, testdata+name+"/cache", nil)
		l := readLock(t, name, "env-a")
		for _, s := range closure(l, buildcache.Runtime) {
			root, nodes, err := c.Spec(t.Context(), find(t, c, s))
			if err != nil {
				t.Fatal(err)
			}
			if root.Hash != s.Hash || root.Name != s.Name || len(root.Dependencies) != len(s.Dependencies) {
				t.Errorf("%s: got %+v", name, root)
			}
			if got, want := len(nodes), len(l.Closure([]buildcache.Hash{s.Hash}, allEdges)); got != want {
				t.Errorf("%s: %s: got %d nodes, the lockfile has %d", name, s, got, want)
			}
		}
	}
}

func TestOpenNamesTheLayouts(t *testing.T) {
	for name, want := range map[string][]int{"v2-signed": {2}, "v3-unsigned": {3}} {
		if got := open(t, testdata+name+"/cache", nil).Layouts(); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if _, err := buildcache.Open(t.Context(), file.New(t.TempDir()), nil); !errors.Is(err, buildcache.ErrNoCache) {
		t.Errorf("empty folder: got %v, want ErrNoCache", err)
	}
	if _, err := buildcache.Open(t.Context(), file.New("/does/not/exist"), nil); err == nil || errors.Is(err, buildcache.ErrNoCache) {
		t.Errorf("missing folder: got %v, want another error than ErrNoCache", err)
	}
}

func TestFindSaysWhatIsNotThere(t *testing.T) {
	for _, name := range fixtures {
		c := open(t, testdata+name+"/cache", nil)
		for _, s := range readLock(t, name, "env-a").Specs {
			if _, err := c.Find(t.Context(), s); s.External && !errors.Is(err, buildcache.ErrNotInCache) {
				t.Errorf("external %s: got %v", s, err)
			}
		}
		stranger := &buildcache.Spec{Name: "qs-net", Version: "9", Hash: buildcache.Hash(strings.Repeat("z", 32))}
		if _, err := c.Find(t.Context(), stranger); !errors.Is(err, buildcache.ErrNotInCache) || !strings.Contains(err.Error(), string(stranger.Hash)) {
			t.Errorf("%s: stranger: got %v", name, err)
		}
		odd := &buildcache.Spec{Name: "../../x", Version: "../y", Hash: "../../../etc"}
		if _, err := c.Find(t.Context(), odd); !errors.Is(err, buildcache.ErrFormat) {
			t.Errorf("%s: odd hash: got %v", name, err)
		}
		odd.Hash = stranger.Hash
		if _, err := c.Find(t.Context(), odd); !errors.Is(err, buildcache.ErrNotInCache) {
			t.Errorf("%s: odd name: got %v", name, err)
		}
	}
}

// The key that is computed is a guess: here the spec says otherwise than the
// one who pushed.
func TestFindGoesByTheHashWhereTheKeyIsOdd(t *testing.T) {
	for _, name := range fixtures {
		c := open(t, testdata+name+"/cache", nil)
		s := *closure(readLock(t, name, "env-a"), buildcache.Runtime)[0]
		want := find(t, c, &s).Key
		s.Version, s.Target, s.Compiler = "git.main=1.0", "zen4", ""
		if got := find(t, c, &s).Key; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestSplicedSpecHasTheBinaryOfItsBuildSpec(t *testing.T) {
	for _, name := range fixtures {
		c := open(t, testdata+name+"/cache", fixtureKeysIf(t, strings.HasSuffix(name, "-signed")))
		s := *closure(readLock(t, name, "env-a"), buildcache.Runtime)[0]
		want := find(t, c, &s)
		s.BuildSpec, s.Hash = s.Hash, buildcache.Hash(strings.Repeat("z", 32))
		got := find(t, c, &s)
		if got.Key != want.Key || got.Spec != &s {
			t.Errorf("got %s of %s, want %s", got.Key, got.Spec, want.Key)
		}
		if root, _, err := c.Spec(t.Context(), got); err != nil || root.Hash != s.BuildSpec {
			t.Errorf("got %v, %v, want the build spec", root, err)
		}
	}
}

func TestSignedSpecFileComesBeforeTheUnsigned(t *testing.T) {
	dir := copyOf(t, "v2-signed")
	s := closure(readLock(t, "v2-signed", "env-a"), buildcache.Runtime)[0]
	sig := find(t, open(t, dir, nil), s).SpecKey
	write(t, dir, strings.TrimSuffix(sig, ".sig"), []byte(`{"garbage"`))
	if got := find(t, open(t, dir, fixtureKeys(t)), s).SpecKey; got != sig {
		t.Errorf("got %s, want %s", got, sig)
	}
}

func fixtureKeysIf(t *testing.T, signed bool) *buildcache.Keyring {
	if !signed {
		return nil
	}
	return fixtureKeys(t)
}

func fixtureKeys(t *testing.T) *buildcache.Keyring {
	t.Helper()
	k, err := buildcache.ReadKeyring(readFile(t, armoredKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, dir string, keys *buildcache.Keyring) *buildcache.Cache {
	t.Helper()
	c, err := buildcache.Open(t.Context(), file.New(dir), keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func readLock(t *testing.T, cache, env string) *buildcache.Lockfile {
	t.Helper()
	l, err := buildcache.ReadLockfile(testdata + cache + "/locks/" + env + ".spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// closure is that of all roots, without externals.
func closure(l *buildcache.Lockfile, types buildcache.DepTypes) []*buildcache.Spec {
	var roots []buildcache.Hash
	for _, r := range l.Roots {
		roots = append(roots, r.Hash)
	}
	return slices.DeleteFunc(l.Closure(roots, types), func(s *buildcache.Spec) bool { return s.External })
}

func find(t *testing.T, c *buildcache.Cache, s *buildcache.Spec) *buildcache.Package {
	t.Helper()
	p, err := c.Find(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t *testing.T, c *buildcache.Cache, p *buildcache.Package) ([]byte, error) {
	t.Helper()
	r, err := c.Open(t.Context(), p)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// copyOf copies the cache of a fixture, to be damaged.
func copyOf(t *testing.T, fixture string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(testdata+fixture+"/cache")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, dir, key string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, key string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, key)); err != nil {
		t.Fatal(err)
	}
}
