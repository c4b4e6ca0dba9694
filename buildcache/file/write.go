package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// Put stores an object: in an unfinished file first, synced, then renamed into
// place. The folder's lock makes conditions hold against other users of this
// package; a foreign program that overwrites at the same instant is only seen
// by IfNoneMatch.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	etag, err := s.put(ctx, key, ctxio.Reader(ctx, io.NewSectionReader(body, 0, size)), size, opts.Condition)
	if err != nil {
		return "", fmt.Errorf("%s: put %s: %w", s.dir, key, err)
	}
	return etag, nil
}

// Copy duplicates an object, sharing blocks where the file system can. It is
// no hard link, which would carry the age of the original.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	r, o, err := s.Get(ctx, from)
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	defer r.Close()
	if _, err := s.put(ctx, to, r, o.Size, buildcache.Condition{}); err != nil {
		return fmt.Errorf("%s: copy %s to %s: %w", s.dir, from, to, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, key string, body io.Reader, size int64, cond buildcache.Condition) (string, error) {
	if err := checkWritable(key); err != nil {
		return "", err
	}
	if cond.IfMatch != "" && cond.IfNoneMatch {
		return "", errors.New("both IfMatch and IfNoneMatch")
	}
	root, err := s.root()
	if err != nil {
		return "", err
	}
	defer root.Close()
	temp, err := writeTemp(root, body, size)
	if err != nil {
		return "", err
	}
	defer root.Remove(temp) // already gone if all went well
	unlock, err := lock(ctx, root)
	if err != nil {
		return "", err
	}
	defer unlock()
	return place(root, temp, key, cond)
}

// writeTemp writes size bytes into an unfinished file and syncs it.
func writeTemp(root *os.Root, body io.Reader, size int64) (name string, err error) {
	name = TempPrefix + strconv.FormatUint(rand.Uint64(), 36)
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			root.Remove(name)
		}
	}()
	n, err := io.Copy(f, body)
	if err == nil && n != size {
		err = fmt.Errorf("got %d bytes of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = f.Sync()
	}
	return name, errors.Join(err, f.Close())
}

// place gives a finished file its name if the condition holds. It runs under
// the folder's lock.
func place(root *os.Root, temp, key string, cond buildcache.Condition) (string, error) {
	name := filepath.FromSlash(key)
	old, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if cond.IfMatch != "" {
			return "", fmt.Errorf("%w: it is gone", buildcache.ErrChanged)
		}
	case err != nil:
		return "", err
	case old.IsDir():
		return "", errors.New("a folder has this name")
	case cond.IfNoneMatch, cond.IfMatch != "" && etag(old) != cond.IfMatch:
		return "", buildcache.ErrChanged
	default:
		if err := outdate(root, temp, old); err != nil {
			return "", err
		}
	}
	info, err := root.Stat(temp)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(name)
	if err := root.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	if cond.IfNoneMatch {
		err = create(root, temp, name)
	} else {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return "", err
	}
	return etag(info), syncDir(root, dir)
}

// create is a rename that does not overwrite, not even what came without our
// lock. Where there are no hard links only the lock protects.
func create(root *os.Root, temp, name string) error {
	err := root.Link(temp, name)
	if errors.Is(err, fs.ErrExist) {
		return buildcache.ErrChanged
	}
	if err != nil {
		return root.Rename(temp, name)
	}
	return root.Remove(temp)
}

// outdate makes temp younger than the file that it replaces, so that its ETag
// differs: two writes can fall within one tick of the clock.
func outdate(root *os.Root, temp string, old fs.FileInfo) error {
	for _, step := range []time.Duration{0, 1, time.Microsecond, time.Second, 2 * time.Second} { // what file systems can resolve
		if step > 0 {
			at := old.ModTime().Add(step)
			if err := root.Chtimes(temp, at, at); err != nil {
				return err
			}
		}
		info, err := root.Stat(temp)
		if err != nil {
			return err
		}
		if info.Size() != old.Size() || info.ModTime().After(old.ModTime()) {
			return nil
		}
	}
	return errors.New("the file system keeps no time of change")
}

// syncDir makes a new name survive a crash, as far as the system can.
func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // not every file system lets folders be synced
	return d.Close()
}

func checkWritable(key string) error {
	if !fs.ValidPath(key) || key == "." || isTemp(path.Base(key)) {
		return fmt.Errorf("key %q: %w", key, fs.ErrInvalid)
	}
	return nil
}
