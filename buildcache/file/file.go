// Package file is the store of a build cache that lives in a folder.
//
// It stays in its folder: keys and symbolic links that lead out of it are
// refused.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// TempPrefix begins the names of files that are still being written. They are
// no objects: neither List nor Get shows them.
const TempPrefix = ".tmp-"

// A Store is the folder of a mirror. It implements buildcache.Store.
type Store struct {
	dir string

	birth func(dir *os.File, name string) (time.Time, error)
}

// New returns the store in dir. That dir is missing or no folder is the error
// of each call.
func New(dir string) *Store { return &Store{dir, birth} }

// ByModTime returns the same folder, in which files are as old as their times of
// modification say. Else what was copied with its times is as young as the copy.
func (s *Store) ByModTime() *Store {
	return &Store{s.dir, func(*os.File, string) (time.Time, error) { return time.Time{}, nil }}
}

// String returns the folder.
func (s *Store) String() string { return s.dir }

// Get opens an object. The folder being away is not fs.ErrNotExist: a mirror
// that is not mounted must not look like an empty one.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, buildcache.Object{}, err
	}
	if !fs.ValidPath(key) || key == "." {
		return nil, buildcache.Object{}, fmt.Errorf("%s: key %q: %w", s.dir, key, fs.ErrInvalid)
	}
	root, err := s.root()
	if err != nil {
		return nil, buildcache.Object{}, err
	}
	defer root.Close()
	info, err := root.Stat(filepath.FromSlash(key))
	if errors.Is(err, syscall.ENOTDIR) || err == nil && (!info.Mode().IsRegular() || isTemp(path.Base(key))) {
		err = &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist} // a folder is no object, a file no folder
	}
	if err != nil {
		return nil, buildcache.Object{}, fmt.Errorf("%s: %w", s.dir, err)
	}
	f, err := root.Open(filepath.FromSlash(key))
	if err != nil {
		return nil, buildcache.Object{}, fmt.Errorf("%s: %w", s.dir, err)
	}
	// What was opened counts, not what had the name before.
	info, err = f.Stat()
	var born time.Time
	if err == nil {
		born, err = s.birth(f, "")
	}
	if err != nil {
		f.Close()
		return nil, buildcache.Object{}, fmt.Errorf("%s: %w", s.dir, err)
	}
	return f, object(key, info, born), nil
}

func (s *Store) root() (*os.Root, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("no folder %q to hold a build cache: %v", s.dir, err) // not %w, see Get
	}
	return root, nil
}

// etag is made of size and time of change, both in hexadecimal. Who overwrites a
// file within the clock's tick with as many bytes escapes it.
func etag(info fs.FileInfo) string {
	return strconv.FormatInt(info.Size(), 16) + "-" + strconv.FormatInt(info.ModTime().UnixNano(), 16)
}

// object was written when it came here, whatever its time of change says.
func object(key string, info fs.FileInfo, born time.Time) buildcache.Object {
	written := info.ModTime()
	if born.After(written) {
		written = born
	}
	return buildcache.Object{Key: key, Size: info.Size(), ETag: etag(info), ModTime: written}
}

// isTemp knows our own unfinished files and those that NFS keeps for a reader
// of a deleted one.
func isTemp(name string) bool {
	return strings.HasPrefix(name, TempPrefix) || strings.HasPrefix(name, ".nfs")
}
