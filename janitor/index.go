package janitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// An index is what readers take for the list of a cache's specs. Layout v3 has
// one more for each view.
type index struct {
	layout   int
	object   buildcache.Object // index.json, or the manifest
	manifest []byte            // v3
	blob     buildcache.Blob   // v3
	data     []byte
	entries  *entries
	stale    bool // v2: index.json.hash is not that of index.json

	dangling map[buildcache.Hash]bool // entries that it has as cached, and of which there is nothing
}

// readIndexes reads all indexes. A cache need not have any. The main ones are
// asked for by name, whatever a listing says.
func (r *scanner) readIndexes(ctx context.Context) error {
	x, err := r.readIndexV2(ctx)
	if err != nil {
		return err
	}
	if x != nil {
		r.indexes = append(r.indexes, x)
	}
	keys := []string{indexV3}
	for o, err := range r.store.List(ctx, indexesV3) {
		if err != nil {
			return fmt.Errorf("list %s: %w", indexesV3, err)
		}
		if kindOf(o.Key) == IndexManifest && o.Key != indexV3 {
			keys = append(keys, o.Key)
		}
	}
	for _, key := range keys {
		x, err := r.readIndexV3(ctx, key)
		var missing *buildcache.ObjectError
		if errors.Is(err, fs.ErrNotExist) && errors.As(err, &missing) {
			if missing.Key != key {
				r.Damage = append(r.Damage, Damage{Key: key, What: "the index cannot be read by anyone, its blob is missing: run spack buildcache update-index, or janitor:reindex"})
			}
			continue
		}
		if err != nil {
			return err
		}
		r.indexes = append(r.indexes, x)
	}
	return nil
}

// readIndex reads one index again.
func (r *scanner) readIndex(ctx context.Context, key string) (*index, error) {
	if key != indexV2 {
		return r.readIndexV3(ctx, key)
	}
	x, err := r.readIndexV2(ctx)
	if err == nil && x == nil {
		err = &buildcache.ObjectError{Key: key, Err: fs.ErrNotExist}
	}
	return x, err
}

// readIndexV2 returns nil if there is none.
func (r *scanner) readIndexV2(ctx context.Context) (*index, error) {
	data, o, err := r.get(ctx, indexV2)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x := &index{layout: 2, object: o, data: data}
	if x.entries, err = r.opts.Known.entries(data); err != nil {
		return nil, &buildcache.ObjectError{Key: indexV2, Err: err}
	}
	sum, _, err := r.get(ctx, indexHashV2)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	x.stale = strings.TrimSpace(string(sum)) != checksum(data)
	return x, nil
}

// readIndexV3 follows a manifest to its blob. The blob of a manifest that was
// replaced meanwhile may be gone: then the new one is read.
func (r *scanner) readIndexV3(ctx context.Context, key string) (*index, error) {
	for try := 0; ; try++ {
		x, err := r.followIndex(ctx, key)
		if err == nil || try == 2 || !errors.Is(err, fs.ErrNotExist) {
			return x, err
		}
	}
}

func (r *scanner) followIndex(ctx context.Context, key string) (*index, error) {
	text, o, err := r.get(ctx, key)
	if err != nil {
		return nil, err
	}
	x := &index{layout: 3, object: o, manifest: text}
	m, err := buildcache.ParseManifest(text)
	if err == nil && len(m.Blobs) != 1 {
		err = fmt.Errorf("%w: it names %d blobs, want 1", buildcache.ErrFormat, len(m.Blobs))
	}
	if err == nil && m.Blobs[0].Compression != "none" {
		err = fmt.Errorf("%w: the index is compressed", buildcache.ErrFormat)
	}
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	x.blob = m.Blobs[0]
	if x.data, _, err = r.get(ctx, x.blob.Key()); err != nil {
		return nil, err
	}
	if checksum(x.data) != x.blob.Checksum {
		return nil, &buildcache.ObjectError{Key: x.blob.Key(), Err: fmt.Errorf("%w: not the bytes that %s names", buildcache.ErrChecksum, key)}
	}
	if x.entries, err = r.opts.Known.entries(x.data); err != nil {
		return nil, &buildcache.ObjectError{Key: x.blob.Key(), Err: err}
	}
	return x, nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
