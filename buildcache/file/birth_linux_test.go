package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

// cp -a and rsync -a give a copy the times of what was copied.
func TestACopyThatKeepsTimesIsYoung(t *testing.T) {
	dir := folder(t, "a/copied")
	old := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "a/copied"), old, old); err != nil {
		t.Fatal(err)
	}
	times := func(s *file.Store) (listed, got time.Time) {
		for o, err := range s.List(t.Context(), "a/") {
			if err != nil {
				t.Fatal(err)
			}
			listed = o.ModTime
		}
		body, o, err := s.Get(t.Context(), "a/copied")
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		return listed, o.ModTime
	}
	listed, got := times(file.New(dir))
	if !listed.Equal(got) || !listed.After(old.Add(time.Hour)) {
		t.Errorf("listed as of %s, read as of %s, want the time of the copy", listed, got)
	}
	if listed, got = times(file.New(dir).ByModTime()); !listed.Equal(old) || !got.Equal(old) {
		t.Errorf("by modification: listed as of %s, read as of %s, want %s", listed, got, old)
	}
}
