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
	f, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<40), f.Close()); err != nil { // takes no space
		t.Fatal(err)
	}
	if _, _, err := buildcache.ReadAll(t.Context(), file.New(dir), "big"); !errors.Is(err, buildcache.ErrFormat) {
		t.Errorf("got %v", err)
	}
}
