package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// tries is how often a lost race for an index is run again.
const tries = 8

// swap puts a changed index in place of the one that is there now. If somebody
// else was faster, it reads theirs and changes that. change returns nil where
// there is nothing to change.
//
// before is told what is about to be replaced, so that it is written down
// before it happens.
func (j Janitor) swap(ctx context.Context, key string, change func(*index) (*entries, error), before func(Replacement) error) error {
	store := j.Store
	for try := 0; ; try++ {
		x, err := (&scanner{store: store, opts: j.Scan}).readIndex(ctx, key)
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		n, err := change(x)
		if err != nil {
			return err
		}
		if n == nil {
			return mendHash(ctx, store, x)
		}
		data := n.bytes()
		if bytes.Equal(data, x.data) {
			return mendHash(ctx, store, x)
		}
		if err := before(x.replacement(n, data)); err != nil {
			return err
		}
		if x.layout == 2 {
			err = putV2(ctx, store, x, data)
		} else {
			err = putV3(ctx, store, x, data)
		}
		if err == nil || !errors.Is(err, buildcache.ErrChanged) || try == tries {
			return err
		}
	}
}

func (x *index) replacement(n *entries, data []byte) Replacement {
	r := Replacement{Key: x.object.Key, Before: checksum(x.data), After: checksum(data), Records: []string{}, data: x.data}
	for _, old := range x.entries.records {
		if now := n.byHash[old.hash]; now == nil || now.cached != old.cached {
			r.Records = append(r.Records, string(old.raw))
		}
	}
	return r
}

// putV2 writes the index, then its checksum: clients that find the old one
// keep what they have, and the next run mends it.
func putV2(ctx context.Context, store Store, x *index, data []byte) error {
	opts := buildcache.PutOptions{ContentType: "application/json", CacheControl: "no-cache", Condition: buildcache.Condition{IfMatch: x.object.ETag}}
	if _, err := store.Put(ctx, indexV2, bytes.NewReader(data), int64(len(data)), opts); err != nil {
		return fmt.Errorf("write %s: %w", indexV2, err)
	}
	return putHash(ctx, store, data)
}

func putHash(ctx context.Context, store Store, data []byte) error {
	opts := buildcache.PutOptions{ContentType: "text/plain", CacheControl: "no-cache"}
	sum := checksum(data)
	if _, err := store.Put(ctx, indexHashV2, strings.NewReader(sum), int64(len(sum)), opts); err != nil {
		return fmt.Errorf("write %s: %w", indexHashV2, err)
	}
	return nil
}

// mendHash writes a checksum that does not fit its index.
func mendHash(ctx context.Context, store Store, x *index) error {
	if x.layout != 2 || !x.stale {
		return nil
	}
	return putHash(ctx, store, x.data)
}

// putV3 writes the blob, then the manifest that names it. The blob that it
// named stays for those who have read the manifest already.
func putV3(ctx context.Context, store Store, x *index, data []byte) error {
	b := x.blob
	b.Size, b.Checksum = int64(len(data)), checksum(data)
	if _, err := store.Put(ctx, b.Key(), bytes.NewReader(data), b.Size, buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", b.Key(), err)
	}
	note := replacedPrefix + x.blob.Checksum
	if _, err := putJSON(ctx, store, note, x.object.Key, buildcache.Condition{}); err != nil {
		return err
	}
	return putManifest(ctx, store, x, manifestText(b))
}

func putManifest(ctx context.Context, store Store, x *index, text []byte) error {
	opts := buildcache.PutOptions{Condition: buildcache.Condition{IfMatch: x.object.ETag}}
	if _, err := store.Put(ctx, x.object.Key, bytes.NewReader(text), int64(len(text)), opts); err != nil {
		return fmt.Errorf("write %s: %w", x.object.Key, err)
	}
	return nil
}

// manifestText writes a manifest as Spack does.
func manifestText(b buildcache.Blob) []byte {
	return fmt.Appendf(nil, `{
"version":3,
"data":[
{
"contentLength":%d,
"mediaType":%q,
"compression":%q,
"checksumAlgorithm":%q,
"checksum":%q
}
]
}`, b.Size, b.MediaType, b.Compression, b.Algorithm, b.Checksum)
}

// drop is the change that takes specs out of an index.
func drop(gone map[buildcache.Hash]bool) func(*index) (*entries, error) {
	return func(x *index) (*entries, error) {
		if !slices.ContainsFunc(x.entries.records, func(r *record) bool { return r.cached && gone[r.hash] }) {
			return nil, nil
		}
		return x.entries.without(gone), nil
	}
}

// putBack is the change that brings records back, as far as they are needed.
func putBack(records []*record) func(*index) (*entries, error) {
	return func(x *index) (*entries, error) { return x.entries.with(records, nil), nil }
}
