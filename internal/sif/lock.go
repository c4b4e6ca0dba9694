package sif

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// LockKey is where the lockfile of a SIF lies, in a folder of SIFs as in a
// store, by its sha256 in hex: containers and platforms share those that are
// the same.
func LockKey(sha256 string) string { return "locks/" + sha256 + ".spack.lock" }

// Lock returns the lockfile that a SIF was made from. The error wraps
// fs.ErrNotExist where it is not in the folder.
func (f Folder) Lock(r Record) ([]byte, error) {
	path := f.Path(filepath.FromSlash(LockKey(r.Lock)))
	text, err := os.ReadFile(path)
	if err == nil && !IsLock(text, r.Lock) {
		err = fmt.Errorf("%s has another checksum than its name: remove it, and build the SIF again", path)
	}
	return text, err
}

// IsLock reports whether text is the lockfile of a sha256, in hex.
func IsLock(text []byte, sha string) bool {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]) == sha
}

// keepLock copies the lockfile of an image to where its SIF will be: the image
// may give way to a newer one before the SIF is uploaded.
func (f Folder) keepLock(images image.Tree, from image.Record) error {
	text, err := os.ReadFile(images.LockFile(from.Name, from.Platform))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !IsLock(text, from.Lock) {
		return nil // the image goes without; what uploads its SIF says so
	}
	if err != nil {
		return err
	}
	path := f.Path(filepath.FromSlash(LockKey(from.Lock)))
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, text, 0o644)
}
