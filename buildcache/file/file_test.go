package file_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

var _ buildcache.Store = (*file.Store)(nil)

// folder writes files, each with its own name as content.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func keys(t *testing.T, s *file.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Size != int64(len(o.Key)) || o.ModTime.IsZero() || o.ETag == "" {
			t.Errorf("got %+v, want size, time and ETag of the file", o)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func TestListYieldsKeysWithThePrefixInOrder(t *testing.T) {
	dir := folder(t, "r/a/1", "r/a/b/2", "r/a-1", "s/x", "r2", ".tmp-1", "r/.tmp-x", "r/.nfs000")
	tests := []struct {
		prefix string
		want   []string
	}{
		{"", []string{"r/a-1", "r/a/1", "r/a/b/2", "r2", "s/x"}},
		{"r", []string{"r/a-1", "r/a/1", "r/a/b/2", "r2"}},
		{"r/", []string{"r/a-1", "r/a/1", "r/a/b/2"}},
		{"r/a", []string{"r/a-1", "r/a/1", "r/a/b/2"}},
		{"r/a/", []string{"r/a/1", "r/a/b/2"}},
		{"r/a/1", []string{"r/a/1"}},
		{"r/a/1/", nil},
		{"r/a/1/x/y", nil},
		{"missing/", nil},
		{"/", nil},
		{"../", nil},
		{"r/../", nil},
	}
	for _, tt := range tests {
		if got := keys(t, file.New(dir), tt.prefix); !slices.Equal(got, tt.want) {
			t.Errorf("List(%q): got %v, want %v", tt.prefix, got, tt.want)
		}
	}
}

func TestListStopsWhenTold(t *testing.T) {
	n := 0
	for range file.New(folder(t, "a", "b/c", "d")).List(t.Context(), "") {
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d objects", n)
	}
}

func TestListEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range file.New(folder(t, "a")).List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestGetOpensWhatListYields(t *testing.T) {
	s := file.New(folder(t, "r/a"))
	r, o, err := s.Get(t.Context(), "r/a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != "r/a" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for listed, err := range s.List(t.Context(), "r/a") {
		if err != nil || listed != o {
			t.Errorf("List says %+v (%v), Get %+v", listed, err, o)
		}
	}
}

func TestETagChangesWithTheFile(t *testing.T) {
	dir := folder(t, "a")
	etag := func() string {
		r, o, err := file.New(dir).Get(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		return o.ETag
	}
	old := etag()
	if again := etag(); again != old {
		t.Errorf("got %s, then %s", old, again)
	}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if etag() == old {
		t.Error("the same for another content")
	}
}

func TestGetOfWhatIsNoObjectIsNotExist(t *testing.T) {
	s := file.New(folder(t, "r/a", "r/.tmp-1"))
	for _, key := range []string{"b", "r", "r/b", "r/a/b", "r/.tmp-1"} {
		if _, _, err := s.Get(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get(%q): got %v, want fs.ErrNotExist", key, err)
		}
	}
}

func TestGetRefusesKeysThatEscape(t *testing.T) {
	dir := folder(t, "secret", "cache/a")
	for _, key := range []string{"../secret", "a/../../secret", "/etc/passwd", filepath.Join(dir, "secret"), "", ".", "./a", "a/", "b//c"} {
		_, _, err := file.New(filepath.Join(dir, "cache")).Get(t.Context(), key)
		if !errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get(%q): got %v, want fs.ErrInvalid", key, err)
		}
	}
}

func TestLinksThatLeaveTheFolderAreRefused(t *testing.T) {
	for _, target := range []string{"../secret", "/etc/passwd", "..", "/"} {
		dir := folder(t, "secret", "cache/a")
		if err := os.Symlink(target, filepath.Join(dir, "cache/link")); err != nil {
			t.Fatal(err)
		}
		s := file.New(filepath.Join(dir, "cache"))
		if _, _, err := s.Get(t.Context(), "link"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("link to %s: Get: got %v, want a refusal", target, err)
		}
		if _, _, err := s.Get(t.Context(), "link/passwd"); err == nil {
			t.Errorf("link to %s: Get follows it", target)
		}
		if listError(t, s, "") == nil {
			t.Errorf("link to %s: List: want a refusal", target)
		}
	}
}

func TestLinksInsideTheFolder(t *testing.T) {
	dir := folder(t, "a", "sub/b")
	for link, target := range map[string]string{"l": "a", "nothing": "gone"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := file.New(dir)
	var got []string
	for o, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Key)
	}
	if want := []string{"a", "l", "sub/b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := os.Symlink("sub", filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	if listError(t, s, "") == nil {
		t.Error("a link to a folder is passed over in silence")
	}
}

func TestMissingFolderIsNoEmptyStore(t *testing.T) {
	dir := folder(t, "file")
	for _, gone := range []string{filepath.Join(dir, "gone"), filepath.Join(dir, "file")} {
		s := file.New(gone)
		if _, _, err := s.Get(t.Context(), "a"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), gone) {
			t.Errorf("Get: got %v, want an error that names the folder and is not fs.ErrNotExist", err)
		}
		if err := listError(t, s, "v3/"); err == nil || !strings.Contains(err.Error(), gone) {
			t.Errorf("List: got %v, want an error that names the folder", err)
		}
	}
}

func TestOpenTakesPathsAndURLs(t *testing.T) {
	dir := folder(t, "my cache/a", "file")
	for _, name := range []string{dir + "/my cache", "file://" + dir + "/my%20cache", "file://localhost" + dir + "/my%20cache"} {
		s, err := file.Open(name)
		if err != nil {
			t.Errorf("Open(%q): %v", name, err)
			continue
		}
		if _, _, err := s.Get(t.Context(), "a"); err != nil {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
	for _, name := range []string{"", dir + "/gone", "file://" + dir + "/gone", dir + "/file", "s3://bucket/a", "file://relative/path", "file://", "file://" + dir + "#a", "file://%zz"} {
		if s, err := file.Open(name); err == nil {
			t.Errorf("Open(%q): got %s", name, s)
		}
	}
}

func listError(t *testing.T, s *file.Store, prefix string) (err error) {
	t.Helper()
	for _, e := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Error("List goes on after an error")
		}
		err = e
	}
	return err
}
