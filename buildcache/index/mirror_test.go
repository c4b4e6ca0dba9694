package index_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	stores "github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

func TestAMirrorHasWhatItsIndexesSay(t *testing.T) {
	for _, cache := range []string{"v2-unsigned", "v3-signed"} {
		dir := filepath.Join("..", "..", "testdata", "spack", cache)
		store, err := stores.Open(filepath.Join(dir, "cache"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.ReadMirror(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		lock, err := buildcache.ReadLockfile(filepath.Join(dir, "locks", "env-a.spack.lock"))
		if err != nil {
			t.Fatal(err)
		}
		for h, s := range lock.Specs {
			if m.Has(h) == s.External {
				t.Errorf("%s: has %s: %v", cache, s, m.Has(h))
			}
		}
		if m.Has(buildcache.Hash(strings.Repeat("a", 32))) {
			t.Errorf("%s has what nobody pushed", cache)
		}
	}
}

func TestAMirrorWithoutIndexIsEmptyAndABrokenOneIsAnError(t *testing.T) {
	open := func(dir string) (index.Mirror, error) {
		store, err := stores.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return index.ReadMirror(t.Context(), store)
	}
	if m, err := open(t.TempDir()); err != nil || m.Len() != 0 {
		t.Errorf("an empty folder: %d entries, %v", m.Len(), err)
	}
	damaged := func(damage func(blob string)) error {
		dir := t.TempDir()
		from := os.DirFS(filepath.Join("..", "..", "testdata", "spack", "v3-unsigned", "cache"))
		if err := os.CopyFS(dir, from); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "v3", "manifests", "index", "index.manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := buildcache.ParseManifest(text)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := manifest.Blob(buildcache.IndexBlob)
		if err != nil {
			t.Fatal(err)
		}
		damage(filepath.Join(dir, filepath.FromSlash(blob.Key())))
		_, err = open(dir)
		return err
	}
	if err := damaged(func(blob string) { _ = os.Remove(blob) }); err == nil {
		t.Error("an index whose blob is gone counts as one of nothing")
	}
	err := damaged(func(blob string) {
		text, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(blob, 0o644)
		if err := os.WriteFile(blob, []byte(strings.Replace(string(text), "qs-", "qz-", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if !errors.Is(err, buildcache.ErrChecksum) {
		t.Errorf("other bytes than the manifest names: %v", err)
	}
	err = damaged(func(blob string) {
		_ = os.Chmod(blob, 0o644)
		if err := os.Truncate(blob, 1000); err != nil {
			t.Fatal(err)
		}
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a part of an index: %v", err)
	}
}
