package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Delete removes files. The folders that held them stay, even empty: a build
// that pushes may have made one for what it is about to write.
func (s *Store) Delete(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	root, err := s.root()
	if err != nil {
		return allFailed(keys, err)
	}
	defer root.Close()
	var failed []buildcache.ObjectError
	for _, key := range keys {
		if err := remove(ctx, root, key); err != nil {
			failed = append(failed, buildcache.ObjectError{Key: key, Err: fmt.Errorf("%s: %w", s.dir, err)})
		}
	}
	if len(failed) > 0 {
		return &buildcache.DeleteError{Failed: failed}
	}
	return nil
}

func remove(ctx context.Context, root *os.Root, key string) error {
	if err := checkWritable(key); err != nil {
		return err
	}
	unlock, err := lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	name := filepath.FromSlash(key)
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && info.IsDir() {
		return nil // no such object
	}
	if err != nil {
		return err
	}
	if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func allFailed(keys []string, err error) error {
	failed := make([]buildcache.ObjectError, len(keys))
	for i, key := range keys {
		failed[i] = buildcache.ObjectError{Key: key, Err: err}
	}
	return &buildcache.DeleteError{Failed: failed}
}
