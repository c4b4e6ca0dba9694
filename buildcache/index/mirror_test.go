package index_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// A replaced store is a cache whose index is replaced, with the blob of the former one removed,
// right after a reader has got its manifest.
type replaced struct {
	buildcache.Store
	now func()
}

func (s *replaced) Get(ctx context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	body, o, err := s.Store.Get(ctx, key)
	if err != nil || key != index.KeyV3 || s.now == nil {
		return body, o, err
	}
	text, err := io.ReadAll(body)
	body.Close()
	s.now()
	s.now = nil
	return io.NopCloser(bytes.NewReader(text)), o, err
}

func TestAnIndexThatIsReplacedMeanwhileIsReadAgainAndItsRecordsAreKept(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "testdata", "spack", "v3-unsigned", "cache"))); err != nil {
		t.Fatal(err)
	}
	store, err := stores.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, _, blobs, err := index.Blobs(t.Context(), store, index.KeyV3)
	if err != nil || len(m.Blobs) != 1 || len(blobs) != 1 {
		t.Fatalf("%v, %v, %v", m, blobs, err)
	}
	put := func(key, text string) {
		t.Helper()
		if _, err := store.Put(t.Context(), key, strings.NewReader(text), int64(len(text)), buildcache.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := index.ReadKept(t.Context(), &replaced{store, func() {
		text, _, err := buildcache.ReadAll(t.Context(), store, blobs[0].Key())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		sum := sha256.Sum256(text)
		blob := blobs[0]
		blob.Size, blob.Checksum = int64(len(text)), hex.EncodeToString(sum[:])
		put(blob.Key(), string(text))
		put(index.KeyV3, string((&buildcache.Manifest{Blobs: []buildcache.Blob{blob}}).Text()))
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(blobs[0].Key()))); err != nil {
			t.Fatal(err)
		}
	}})
	if err != nil || len(kept) != 1 || kept[0].Len() == 0 {
		t.Fatalf("%v, %v", kept, err)
	}
	defer kept[0].Close()
	for _, id := range kept[0].Entries() {
		if s, err := kept[0].Spec(id); err != nil || s.Hash != kept[0].Hash(id) || s.Name != kept[0].Name(id) {
			t.Errorf("got %v, %v, want %s", s, err, kept[0].Name(id))
		}
	}
}

// A machine without a place for temporary files has not found an empty cache.
func TestAnIndexWhoseTextCannotBeKeptIsAnError(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	for _, cache := range []string{"v2-unsigned", "v3-unsigned"} {
		store, err := stores.Open(filepath.Join("..", "..", "testdata", "spack", cache, "cache"))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := index.ReadKept(t.Context(), store); err == nil || !strings.Contains(err.Error(), "keep its text") {
			t.Errorf("%s: got %v, %v", cache, kept, err)
		}
	}
}
