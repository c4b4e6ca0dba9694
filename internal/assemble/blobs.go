package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A blobStore keeps blobs by digest, so that a second build fetches and
// compresses nothing that the first one had. Layouts share its files by hard
// links; they are never written to.
type blobStore string

func (s blobStore) path(digest v1.Hash) string {
	return filepath.Join(string(s), digest.Algorithm, digest.Hex)
}

// holds reports whether the blob is here, whole and unchanged.
func (s blobStore) holds(digest v1.Hash) bool {
	file, err := os.Open(s.path(digest))
	if err != nil {
		return false
	}
	defer file.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, file)
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == digest.Hex
}

// sweep removes what killed builds have left half-written. A day is longer than
// any one blob takes.
func (s blobStore) sweep() {
	parts, _ := filepath.Glob(filepath.Join(string(s), "sha256", ".part-*"))
	for _, part := range parts {
		if info, err := os.Stat(part); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(part) // it is only in the way
		}
	}
}

// A blob is what write has stored.
type blob struct {
	Digest v1.Hash `json:"digest"`
	Size   int64   `json:"size"`
}

// write stores what fill writes. Nothing is left of it when fill fails.
func (s blobStore) write(fill func(w io.Writer) error) (blob, error) {
	dir := filepath.Join(string(s), "sha256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return blob{}, err
	}
	part, err := os.CreateTemp(dir, ".part-*")
	if err != nil {
		return blob{}, err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	sum := sha256.New()
	if err := fill(io.MultiWriter(part, sum)); err != nil {
		return blob{}, err
	}
	info, err := part.Stat()
	if err != nil {
		return blob{}, err
	}
	b := blob{Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, Size: info.Size()}
	if err := errors.Join(part.Chmod(0o444), part.Close()); err != nil {
		return blob{}, err
	}
	return b, os.Rename(part.Name(), s.path(b.Digest))
}

// link puts a blob into the blobs folder of a layout: as a hard link, or as a
// copy where the file system cannot link.
func (s blobStore) link(digest v1.Hash, layout string) error {
	target := filepath.Join(layout, "blobs", digest.Algorithm, digest.Hex)
	err := os.Link(s.path(digest), target)
	if err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	from, err := os.Open(s.path(digest))
	if err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
