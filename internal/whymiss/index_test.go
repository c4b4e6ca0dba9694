package whymiss

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

const caches = "../../testdata/spack"

func open(t *testing.T, dirs ...string) *Index {
	t.Helper()
	var stores []buildcache.Store
	for _, dir := range dirs {
		stores = append(stores, file.New(dir))
	}
	x, err := Read(t.Context(), stores...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

func lockOf(t *testing.T, cache, env string) *buildcache.Lockfile {
	t.Helper()
	lock, err := buildcache.ReadLockfile(filepath.Join(caches, cache, "locks", env+".spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func TestNothingMissesInTheCacheOfALockfile(t *testing.T) {
	for _, cache := range []string{"v2-signed", "v3-unsigned"} {
		x := open(t, filepath.Join(caches, cache, "cache"))
		for _, env := range []string{"env-a", "env-b", "env-hello"} {
			r, err := Explain(lockOf(t, cache, env), x)
			if err != nil || len(r.Missing) > 0 || len(r.Causes) > 0 || r.Cached == 0 {
				t.Errorf("%s, %s: got %+v, %v", cache, env, r, err)
			}
		}
	}
}

// Since Spack 1.0 a compiler is a dependency, often an external one: that all packages are built by
// another one is one cause.
func TestAnotherExternalCompilerIsOneCause(t *testing.T) {
	lock := lockOf(t, "v3-signed", "env-a")
	changed := map[buildcache.Hash]bool{}
	for h, s := range lock.Specs {
		if s.Name == "gcc" {
			s.Version = "15.1.0"
			changed[h] = true
		}
	}
	renew(lock, changed)
	r, err := Explain(lock, open(t, filepath.Join(caches, "v3-signed", "cache")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Causes {
		if c.Differences[0].What != "dependency gcc" {
			t.Errorf("got the cause %v", c)
		}
	}
	if len(r.Causes) == 0 || r.Causes[0].Kind != Compiler || r.Causes[0].Misses != len(r.Missing) {
		t.Errorf("got %v, want one of kind %q for all of %d", r.Causes, Compiler, len(r.Missing))
	}
}

func TestSeveralCachesCountTogether(t *testing.T) {
	v2, v3 := filepath.Join(caches, "v2-signed", "cache"), filepath.Join(caches, "v3-signed", "cache")
	r, err := Explain(lockOf(t, "v2-signed", "env-a"), open(t, v3))
	if err != nil || r.Cached != 0 {
		t.Errorf("got %d of another Spack's cache, %v", r.Cached, err)
	}
	r, err = Explain(lockOf(t, "v2-signed", "env-a"), open(t, v3, v2))
	if err != nil || len(r.Missing) != 0 {
		t.Errorf("got %d missing, %v", len(r.Missing), err)
	}
}

func TestADamagedIndexIsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(t.Context(), file.New(dir)); !errors.Is(err, ErrNoIndex) {
		t.Errorf("got %v of an empty cache, want %v", err, ErrNoIndex)
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(caches, "v3-signed", "cache"))); err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(index.KeyV3)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := buildcache.ParseManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := m.Blob(buildcache.IndexBlob)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.FromSlash(blob.Key()))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, append(text, '\n'), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(context.WithoutCancel(t.Context()), file.New(dir)); !errors.Is(err, buildcache.ErrChecksum) {
		t.Errorf("got %v of an index with another checksum", err)
	}
	if err := os.WriteFile(path, text[:len(text)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), file.New(dir)); !errors.Is(err, buildcache.ErrFormat) {
		t.Errorf("got %v of half an index", err)
	}
}
