package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// tries is how often a lost race for an index is run again.
const tries = 8

// A change makes the text that shall take an index's place, from the one that
// it had until now. Two nils say that there is nothing to change.
type change func(ctx context.Context, x *cacheIndex) (was, now *text, err error)

// swap puts a changed index in place of the one that is there now, which is
// taken to be x; nil is one that is not known. If somebody else was faster, it
// reads theirs and changes that.
//
// before is told what is about to be replaced, so that it is written down
// before it happens. swap returns the index that is there then.
func (j Janitor) swap(ctx context.Context, key string, x *cacheIndex, change change, before func(Replacement, *text) error) (*cacheIndex, error) {
	for try := 0; ; try++ {
		r := newScanner(j.Store, j.Scan)
		if x == nil || x.stale || try > 0 {
			var err error
			if x, err = r.readIndex(ctx, key); err != nil {
				return nil, fmt.Errorf("index: %w", err)
			}
			r.learnIndexes([]*cacheIndex{x})
		}
		n, err := j.swapOnce(ctx, x, change, before)
		if !errors.Is(err, buildcache.ErrChanged) && !errors.Is(err, errMoved) || try == tries {
			if err == nil && n != x {
				r.learnIndexes([]*cacheIndex{n})
			}
			return n, err
		}
	}
}

func (j Janitor) swapOnce(ctx context.Context, x *cacheIndex, change change, before func(Replacement, *text) error) (*cacheIndex, error) {
	was, t, err := change(ctx, x)
	if was != nil {
		defer was.release()
	}
	if err != nil {
		return nil, err
	}
	if t == nil {
		return x, mendHash(ctx, j.Store, x)
	}
	defer t.release()
	if t.sum == x.sum {
		return x, mendHash(ctx, j.Store, x)
	}
	if err := before(Replacement{Key: x.object.Key, Before: x.sum, After: t.sum}, was); err != nil {
		return nil, err
	}
	n := &cacheIndex{layout: x.layout, object: x.object, blob: x.blob, sum: t.sum, graph: t.graph}
	if n.layout == 2 {
		n.object.ETag, err = putV2(ctx, j.Store, t, buildcache.Condition{IfMatch: x.object.ETag})
	} else {
		err = putV3(ctx, j.Store, x, n, t)
	}
	return n, err
}

// putV2 writes the index, then its checksum: clients that find the old one
// keep what they have, and the next run mends it.
func putV2(ctx context.Context, store Store, t *text, cond buildcache.Condition) (etag string, err error) {
	opts := buildcache.PutOptions{ContentType: "application/json", CacheControl: "no-cache", Condition: cond}
	if etag, err = store.Put(ctx, indexV2, t, t.graph.Size(), opts); err != nil {
		return "", fmt.Errorf("write %s: %w", indexV2, err)
	}
	return etag, putHash(ctx, store, t.sum)
}

func putHash(ctx context.Context, store Store, sum string) error {
	opts := buildcache.PutOptions{ContentType: "text/plain", CacheControl: "no-cache"}
	if _, err := store.Put(ctx, indexHashV2, strings.NewReader(sum), int64(len(sum)), opts); err != nil {
		return fmt.Errorf("write %s: %w", indexHashV2, err)
	}
	return nil
}

// mendHash writes a checksum that does not fit its index.
func mendHash(ctx context.Context, store Store, x *cacheIndex) error {
	if x.layout != 2 || !x.stale {
		return nil
	}
	return putHash(ctx, store, x.sum)
}

// putV3 writes the blob, then the manifest that names it. The blob that it
// named stays for those who have read the manifest already.
func putV3(ctx context.Context, store Store, x, n *cacheIndex, t *text) (err error) {
	n.blob.Size, n.blob.Checksum = t.graph.Size(), t.sum
	if _, err := store.Put(ctx, n.blob.Key(), t, n.blob.Size, buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", n.blob.Key(), err)
	}
	note := replacedPrefix + x.blob.Checksum
	if _, err := putJSON(ctx, store, note, x.object.Key, buildcache.Condition{}); err != nil {
		return err
	}
	n.object.ETag, err = putManifest(ctx, store, n, buildcache.Condition{IfMatch: x.object.ETag})
	return err
}

func putManifest(ctx context.Context, store Store, x *cacheIndex, cond buildcache.Condition) (etag string, err error) {
	body := manifestText(x.blob)
	etag, err = store.Put(ctx, x.object.Key, bytes.NewReader(body), int64(len(body)), buildcache.PutOptions{Condition: cond})
	if err != nil {
		return "", fmt.Errorf("write %s: %w", x.object.Key, err)
	}
	return etag, nil
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
func (j Janitor) drop(goes func(*cacheIndex, id) bool) change {
	return func(ctx context.Context, x *cacheIndex) (was, now *text, err error) {
		keep := index.NewBits(x.graph.Len())
		for _, i := range x.graph.Entries() {
			if x.graph.InCache(i) && !goes(x, x.id(i)) {
				keep.Set(i)
			}
		}
		if keep.Count() == x.cached.Count() {
			return nil, nil, nil
		}
		if was, err = x.fetch(ctx, j.Store); err == nil {
			now, err = was.rewrite(keep)
		}
		return was, now, err
	}
}

// putBack is the change that brings specs back which an older text has.
func (j Janitor) putBack(older *text, back func(buildcache.Hash) bool) change {
	return func(ctx context.Context, x *cacheIndex) (was, now *text, err error) {
		if was, err = x.fetch(ctx, j.Store); err == nil {
			now, err = was.withBack(older, back)
		}
		return was, now, err
	}
}
