package file_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

var _ buildcache.Writer = (*file.Store)(nil)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return file.New(t.TempDir()) })
}

func TestWritingLeavesNoUnfinishedFiles(t *testing.T) {
	dir := t.TempDir()
	s := file.New(dir)
	storetest.Put(t, s, "a", "x")
	_, err := s.Put(t.Context(), "a", strings.NewReader("y"), 1, buildcache.PutOptions{Condition: buildcache.Condition{IfMatch: "z"}})
	if !errors.Is(err, buildcache.ErrChanged) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "b", strings.NewReader("y"), 2, buildcache.PutOptions{}); err == nil {
		t.Error("a short body is accepted")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 { // a, and the lock
		t.Errorf("got %v, %v", entries, err)
	}
}

func TestWritingStaysInTheFolder(t *testing.T) {
	dir := folder(t, "secret", "cache/a")
	if err := os.Symlink("..", filepath.Join(dir, "cache/up")); err != nil {
		t.Fatal(err)
	}
	s := file.New(filepath.Join(dir, "cache"))
	for _, key := range []string{"../secret", "/secret", "up/secret", "", ".", "b/", "b/.tmp-x"} {
		if _, err := s.Put(t.Context(), key, strings.NewReader("x"), 1, buildcache.PutOptions{}); err == nil {
			t.Errorf("Put(%q) is accepted", key)
		}
		if err := s.Delete(t.Context(), []string{key}); err == nil {
			t.Errorf("Delete(%q) is accepted", key)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "secret")); err != nil {
		t.Error(err)
	}
}

func TestDeleteNamesWhatItLeft(t *testing.T) {
	s := file.New(folder(t, "a"))
	var failed *buildcache.DeleteError
	if err := s.Delete(t.Context(), []string{"../x", "a"}); !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Key != "../x" || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
	gone := file.New(filepath.Join(t.TempDir(), "gone"))
	if err := gone.Delete(t.Context(), []string{"a", "b"}); !errors.As(err, &failed) || len(failed.Failed) != 2 || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: got %v", err)
	}
}
