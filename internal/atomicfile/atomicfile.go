// Package atomicfile writes files whole or not at all: beside their place, to the disk, and then
// renamed. Who reads meanwhile sees the old file or the new one; who kills the process leaves the
// old one, and at most a file that begins with a dot and ends in .part.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Part ends the names of files that are not finished.
const Part = ".part"

// Write puts data at path, in a file with the mode.
func Write(path string, data []byte, mode fs.FileMode) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit(path, mode)
}

// A File is not finished. It is a Writer; Commit gives it its name, Discard removes it.
type File struct{ *os.File }

// Create opens an unfinished file in the folder of path.
func Create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+Part)
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// Commit brings the file to the disk and gives it the name path, which is in the folder that it was
// created for, in place of what had it. The file is closed.
func (f *File) Commit(path string, mode fs.FileMode) error {
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	syncFolder(filepath.Dir(path))
	return nil
}

// Discard closes and removes the file. After Commit there is nothing left to remove.
func (f *File) Discard() {
	f.Close()
	os.Remove(f.Name())
}

// syncFolder makes a new name survive a crash. Not every file system lets folders be synced.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
