package sifstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/filelock"
)

// part opens an unfinished file of our own folder, from which others are kept.
// It is locked until it is closed.
func (d *disk) part(name string) (*os.File, error) {
	part, err := d.stage.OpenFile(name, os.O_RDWR|os.O_CREATE|noWait, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := part.Stat()
	if err == nil {
		err = d.plain(filepath.Join(d.stageName(), name), info)
	}
	if err == nil {
		err = filelock.File(part)
	}
	switch {
	case errors.Is(err, filelock.ErrNone): // the checksum tells
		err = nil
	case errors.Is(err, filelock.ErrHeld):
		err = errors.New("another process is fetching it: wait for it")
	}
	if err != nil {
		return nil, errors.Join(err, part.Close())
	}
	return part, nil
}

// write writes a small file whole or not at all. folder is one of the disk's,
// which is made; empty means the disk itself.
func (d *disk) write(folder, name string, text []byte) error {
	temp := temporary()
	part, err := d.part(temp)
	if err != nil {
		return err
	}
	defer part.Close()
	_, err = part.Write(text)
	if err := errors.Join(err, part.Chmod(0o644), part.Sync()); err != nil {
		return errors.Join(err, d.stage.Remove(temp))
	}
	if err := d.place(part, temp, folder, name); err != nil {
		_ = d.stage.Remove(temp) // it may have been moved
		return err
	}
	return nil
}

// place gives a finished file of our own folder its name, in place of a plain
// one or of none.
func (d *disk) place(part *os.File, temp, folder, name string) error {
	home, err := d.folder(folder)
	if err != nil {
		return err
	}
	defer home.Close()
	full := filepath.Join(folder, name)
	if old, err := home.Lstat(name); err == nil {
		if err := d.plain(full, old); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.root.Rename(filepath.Join(d.stageName(), temp), full); err != nil {
		return err
	}
	ours, err := part.Stat()
	if err != nil {
		return err
	}
	placed, err := home.Lstat(name)
	if err != nil {
		return err
	}
	if !os.SameFile(ours, placed) {
		return fmt.Errorf("%s is another file than was put there: another process writes to this folder too", filepath.Join(d.path, full))
	}
	return nil
}

// folder opens a folder of the disk, step by step, and makes what is missing.
// Each step must be a folder and no link, of a trusted user.
func (d *disk) folder(name string) (*os.Root, error) {
	at, err := d.root.OpenRoot(".")
	if err != nil || name == "" {
		return at, err
	}
	path := ""
	for step := range strings.SplitSeq(filepath.ToSlash(name), "/") {
		path = filepath.Join(path, step)
		next, err := d.step(at, step, path)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func (d *disk) step(at *os.Root, step, path string) (*os.Root, error) {
	if err := at.Mkdir(step, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	notOurs := fmt.Errorf("%s is a link, or something else that sif:install does not make, or others may write to it: remove it", filepath.Join(d.path, path))
	named, err := at.Lstat(step)
	if err != nil {
		return nil, err
	}
	if !named.IsDir() {
		return nil, notOurs
	}
	next, err := openFolder(at, step)
	if err != nil {
		return nil, fmt.Errorf("%w (%v)", notOurs, err)
	}
	opened, err := next.Stat(".")
	if err != nil {
		return nil, errors.Join(err, next.Close())
	}
	if uid, _ := owner(opened); !os.SameFile(named, opened) || !d.trusts(uid) || opened.Mode()&0o002 != 0 {
		return nil, errors.Join(notOurs, next.Close())
	}
	return next, nil
}

// openFolder opens a folder and nothing else: the dot makes its name one that
// is gone through, so that a FIFO in its place is refused and not waited for.
func openFolder(at *os.Root, name string) (*os.Root, error) { return at.OpenRoot(name + "/.") }

// link makes a symbolic link in one step: no reader sees it missing. It takes the
// place of another link or of nothing.
func (d *disk) link(target, name string) error {
	switch old, err := d.root.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case old.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s is in the way of the link to the newest SIF: remove it", filepath.Join(d.path, name))
	default:
		uid, _ := owner(old)
		if at, err := d.root.Readlink(name); err == nil && at == target && d.trusts(uid) {
			return nil
		}
	}
	temp := temporary()
	if err := d.stage.Symlink(target, temp); err != nil {
		return err
	}
	if err := d.root.Rename(filepath.Join(d.stageName(), temp), name); err != nil {
		return errors.Join(err, d.stage.Remove(temp))
	}
	if at, err := d.root.Readlink(name); err != nil || at != target {
		return fmt.Errorf("%s is another link than was put there: another process writes to this folder too (%w)", filepath.Join(d.path, name), err)
	}
	return nil
}

// sync makes new names survive a crash, as far as the system can.
func (d *disk) sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return err
	}
	_ = dir.Sync() // not every file system lets folders be synced
	return dir.Close()
}
