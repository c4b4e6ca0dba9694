package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// tries is how often a lost race for an index is run again.
const tries = 8

// A change makes the text that shall take an index's place, from the one that
// it had until now; nil is that there is nothing to change.
type change func(ctx context.Context, x *cacheIndex) (*text, error)

// swap puts changed indexes in place of those that an object holds or names
// now. If another process was faster, it reads theirs and changes that. It
// reports whether anything was written.
func (j *Janitor) swap(ctx context.Context, l *lease, key string, change change) (wrote bool, err error) {
	for try := 0; ; try++ {
		r := newScanner(j.Store, j.Scan)
		group, err := r.readIndex(ctx, key)
		if err != nil {
			return false, fmt.Errorf("index: %w", err)
		}
		r.learnIndexes(group)
		if err := l.hold(ctx); err != nil {
			return false, err
		}
		w, err := j.swapOnce(ctx, group, change)
		wrote = wrote || w // what was refused may be what we had written: its reply was lost, and it was sent again
		if !errors.Is(err, buildcache.ErrChanged) && !errors.Is(err, errMoved) || try == tries {
			return wrote, err
		}
	}
}

func (j *Janitor) swapOnce(ctx context.Context, group []*cacheIndex, change change) (wrote bool, err error) {
	texts := make([]*text, len(group))
	defer func() {
		for _, t := range texts {
			if t != nil {
				t.Close()
			}
		}
	}()
	for i, x := range group {
		if texts[i], err = change(ctx, x); err != nil {
			return false, err
		}
		if t := texts[i]; t != nil && t.sum == x.sum {
			t.Close()
			texts[i] = nil
		}
	}
	first := group[0]
	switch {
	case !slices.ContainsFunc(texts, func(t *text) bool { return t != nil }):
		if first.layout == 2 && first.stale {
			return true, putHash(ctx, j.Store, first.sum)
		}
		return false, nil
	case first.layout == 2:
		return true, putV2(ctx, j.Store, texts[0], buildcache.Condition{IfMatch: first.object.ETag})
	}
	return true, putV3(ctx, j.Store, group, texts)
}

// putV2 writes the index, then its checksum: clients that find the old one
// keep what they have, and the next run mends it.
func putV2(ctx context.Context, store Store, t *text, cond buildcache.Condition) error {
	opts := buildcache.PutOptions{ContentType: "application/json", CacheControl: "no-cache", Condition: cond}
	if _, err := store.Put(ctx, indexV2, t, t.graph.Size(), opts); err != nil {
		return fmt.Errorf("write %s: %w", indexV2, err)
	}
	return putHash(ctx, store, t.sum)
}

func putHash(ctx context.Context, store Store, sum string) error {
	opts := buildcache.PutOptions{ContentType: "text/plain", CacheControl: "no-cache"}
	if _, err := store.Put(ctx, indexHashV2, strings.NewReader(sum), int64(len(sum)), opts); err != nil {
		return fmt.Errorf("write %s: %w", indexHashV2, err)
	}
	return nil
}

// putV3 writes the blobs, then the manifest that names them. Those that it
// named stay for readers who have read the manifest already: they become lone
// blobs, and wait like any other.
func putV3(ctx context.Context, store Store, group []*cacheIndex, texts []*text) error {
	names := slices.Clone(group[0].names)
	for i, t := range texts {
		if t == nil {
			continue
		}
		n := group[i].blob
		n.Size, n.Checksum = t.graph.Size(), t.sum
		if err := putBlob(ctx, store, n, t); err != nil {
			return err
		}
		names[slices.Index(names, group[i].blob)] = n
	}
	return putManifest(ctx, store, group[0].object.Key, names, buildcache.Condition{IfMatch: group[0].object.ETag})
}

func putBlob(ctx context.Context, store Store, b buildcache.Blob, t *text) error {
	if _, err := store.Put(ctx, b.Key(), t, b.Size, buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", b.Key(), err)
	}
	return nil
}

func putManifest(ctx context.Context, store Store, key string, blobs []buildcache.Blob, cond buildcache.Condition) error {
	body := (&buildcache.Manifest{Blobs: blobs}).Text()
	if _, err := store.Put(ctx, key, bytes.NewReader(body), int64(len(body)), buildcache.PutOptions{Condition: cond}); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// drop is the change that takes specs out of an index.
func (j *Janitor) drop(goes func(*cacheIndex, id) bool) change {
	return func(ctx context.Context, x *cacheIndex) (*text, error) {
		keep := index.NewBits(x.graph.Len())
		for _, i := range x.graph.Entries() {
			if x.graph.InCache(i) && !goes(x, x.id(i)) {
				keep.Set(i)
			}
		}
		if keep.Count() == x.cached.Count() {
			return nil, nil
		}
		was, err := x.fetch(ctx, j.Store)
		if err != nil {
			return nil, err
		}
		defer was.Close()
		return was.rewrite(keep)
	}
}
