package buildcache_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

func TestWhatIsTooBigForASmallObjectIsNotReadIntoMemory(t *testing.T) {
	dir := t.TempDir()
	for key, size := range map[string]int64{"room": 1 << 40, "v3/manifests/index/index.manifest.json": 2 << 20} {
		path := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil { // takes no space
			t.Fatal(err)
		}
		if _, _, err := buildcache.ReadAll(t.Context(), file.New(dir), key); !errors.Is(err, buildcache.ErrFormat) {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
