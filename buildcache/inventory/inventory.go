// Package inventory reads S3 Inventories, the lists of a bucket's objects that
// S3 itself delivers once a day or a week, and writes the lists that S3 Batch
// Operations take. With both, a bucket of any size costs no listing and no
// request for each object.
//
// An inventory must be whole to be of use: whatever is cut off, changed or of
// another bucket is an error, never a shorter list.
package inventory

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Store is where an inventory was delivered to, or a folder that it was
// copied to.
type Store interface {
	// Get opens an object. A missing one is fs.ErrNotExist.
	Get(ctx context.Context, key string) (io.ReadCloser, buildcache.Object, error)
}

// A Mirror is the part of a bucket that a build cache is in.
type Mirror struct {
	Bucket string
	Prefix string // "" is the whole bucket
}

// An Inventory is a listing of a mirror as it was some time ago.
type Inventory struct {
	store   Store
	key     string // of the manifest
	mirror  Mirror // its prefix is empty, or has a slash at its end
	at      time.Time
	columns columns
	parts   []part
}

// manifest is a manifest.json as S3 writes it.
type manifest struct {
	Source  string `json:"sourceBucket"`
	Version string `json:"version"`
	Created string `json:"creationTimestamp"` // milliseconds since 1970
	Format  string `json:"fileFormat"`
	Schema  string `json:"fileSchema"` // the columns, by commas
	Files   []part `json:"files"`
}

// A part is one of the files that the list is divided into.
type part struct {
	Key  string `json:"key"`
	Size int64  `json:"size"`
	MD5  string `json:"MD5checksum"`
}

// maxManifest is in bytes: 100 million objects are about 100 parts of 200
// bytes each.
const maxManifest = 64 << 20

// Open reads the manifest of an inventory, PREFIX/BUCKET/ID/DATE/manifest.json.
// It checks it by the manifest.checksum beside it, if that is there.
func Open(ctx context.Context, store Store, key string, mirror Mirror) (*Inventory, error) {
	if mirror.Prefix = strings.Trim(mirror.Prefix, "/"); mirror.Prefix != "" {
		mirror.Prefix += "/"
	}
	i := &Inventory{store: store, key: key, mirror: mirror}
	if err := i.open(ctx); err != nil {
		return nil, fmt.Errorf("inventory %s: %w", key, err)
	}
	return i, nil
}

// At returns when S3 began to make the inventory. What was written later may
// be missing, and what was deleted later may still be listed.
func (i *Inventory) At() time.Time { return i.at }

func (i *Inventory) open(ctx context.Context) error {
	text, err := i.read(ctx, i.key, maxManifest)
	if err != nil {
		return err
	}
	sum, err := i.read(ctx, path.Join(path.Dir(i.key), "manifest.checksum"), 1<<10)
	switch {
	case errors.Is(err, fs.ErrNotExist): // only the manifest was copied here
	case err != nil:
		return fmt.Errorf("manifest.checksum: %w", err)
	case strings.TrimSpace(string(sum)) != checksum(text):
		return fmt.Errorf("%w: it is not the one that manifest.checksum beside it is of", buildcache.ErrFormat)
	}
	return i.parse(text)
}

func (i *Inventory) parse(text []byte) error {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: %w", buildcache.ErrFormat, err)
	}
	if m.Source != i.mirror.Bucket {
		return fmt.Errorf("it is of bucket %q, the mirror is in %q", m.Source, i.mirror.Bucket)
	}
	if m.Format != "CSV" {
		return fmt.Errorf("its format is %q: only CSV is read here, so have S3 deliver the inventory as CSV", m.Format)
	}
	created, err := strconv.ParseInt(m.Created, 10, 64)
	if err != nil || created <= 0 {
		return fmt.Errorf("%w: its creationTimestamp is %q, not milliseconds since 1970", buildcache.ErrFormat, m.Created)
	}
	if m.Files == nil {
		return fmt.Errorf("%w: it lists no files", buildcache.ErrFormat)
	}
	seen := map[string]bool{}
	for _, p := range m.Files {
		if sum, err := hex.DecodeString(p.MD5); p.Key == "" || p.Size <= 0 || err != nil || len(sum) != md5.Size || seen[p.Key] {
			return fmt.Errorf("%w: file %q: want each once, with its size and MD5checksum", buildcache.ErrFormat, p.Key)
		}
		seen[p.Key] = true
	}
	i.at, i.parts = time.UnixMilli(created).UTC(), m.Files
	i.columns, err = parseSchema(m.Schema)
	return err
}

func (i *Inventory) read(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, o, err := i.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if o.Size > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, which cannot be", buildcache.ErrFormat, o.Size)
	}
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(text)) != o.Size {
		err = fmt.Errorf("%d bytes came, %d were announced: %w", len(text), o.Size, io.ErrUnexpectedEOF)
	}
	return text, err
}

func checksum(text []byte) string {
	sum := md5.Sum(text)
	return hex.EncodeToString(sum[:])
}
