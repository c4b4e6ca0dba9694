package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// List yields the objects whose keys begin with prefix, in ascending order of
// their keys' bytes. A symbolic link to a file of the store is an object; one
// that leads out of it or to a folder is an error, since leaving out what is
// behind it would make the listing look complete.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	return func(yield func(buildcache.Object, error) bool) {
		root, err := s.root()
		if err != nil {
			yield(buildcache.Object{}, err)
			return
		}
		defer root.Close()
		dir := strings.TrimSuffix(prefix[:strings.LastIndex(prefix, "/")+1], "/")
		if dir == "" {
			dir = "."
		}
		if !fs.ValidPath(dir) {
			return // no key can begin like this
		}
		w := &walk{store: s, ctx: ctx, root: root, prefix: prefix, yield: yield}
		if err := w.folder(dir); err != nil && !errors.Is(err, errStop) {
			yield(buildcache.Object{}, fmt.Errorf("%s: %w", s.dir, err))
		}
	}
}

var errStop = errors.New("stop")

type walk struct {
	store  *Store
	ctx    context.Context
	root   *os.Root
	prefix string
	yield  func(buildcache.Object, error) bool
}

// folder visits a folder. One that went away since it was named holds nothing.
func (w *walk) folder(name string) error {
	dir, err := w.root.Open(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := entriesOf(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		key := path.Join(name, e.Name())
		switch {
		case e.IsDir():
			if strings.HasPrefix(key+"/", w.prefix) || strings.HasPrefix(w.prefix, key+"/") {
				err = w.folder(key)
			}
		case strings.HasPrefix(key, w.prefix) && !isTemp(e.Name()):
			err = w.file(dir, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entriesOf returns what a folder holds in the order of the keys below it: the
// folder "a" stands for keys "a/…", which come after a file "a-1".
func entriesOf(dir *os.File) ([]fs.DirEntry, error) {
	if info, err := dir.Stat(); err != nil || !info.IsDir() {
		return nil, err
	}
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(sortKey(a), sortKey(b)) })
	return entries, err
}

func sortKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (w *walk) file(dir *os.File, key string) error {
	info, err := w.root.Stat(filepath.FromSlash(key)) // follows links inside the root only
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted since, or a link to nothing: Get does not find it either
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s: a symbolic link to a folder is not followed: copy or bind-mount it", key)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	born, err := w.store.birth(dir, path.Base(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if !w.yield(object(key, info, born), nil) {
		return errStop
	}
	return nil
}
