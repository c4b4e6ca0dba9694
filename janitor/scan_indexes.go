package janitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A cacheIndex is what readers take for the list of a cache's specs. Layout v3
// has one more for each view.
type cacheIndex struct {
	layout int
	object buildcache.Object // index.json, or the manifest
	blob   buildcache.Blob   // v3
	names  []buildcache.Blob // v3: all that the manifest names; an index for each version of Spack's database
	sum    string            // of its text
	graph  *index.Graph
	stale  bool // v2: index.json.hash is not that of index.json

	ids      []id       // in the dag, by the numbers of the graph; nil if they are the same
	cached   index.Bits // specs that it has as cached
	dangling index.Bits // those of them of which there is nothing
}

func (x *cacheIndex) id(i uint32) id {
	if x.ids == nil {
		return i
	}
	return x.ids[i]
}

// learn puts an index into the dag.
func (x *cacheIndex) learn(d *dag) {
	x.ids = d.addGraph(x.graph, true)
	x.cached = index.NewBits(d.len())
	for _, i := range x.graph.Entries() {
		if x.graph.InCache(i) {
			x.cached.Set(x.id(i))
		}
	}
}

// textKey is where the text lies.
func (x *cacheIndex) textKey() string {
	if x.layout == 2 {
		return x.object.Key
	}
	return x.blob.Key()
}

// readIndexes reads all indexes. A cache need not have any. The main ones are
// asked for by name, whatever a listing says.
func (r *scanner) readIndexes(ctx context.Context) ([]*cacheIndex, error) {
	keys := []string{indexV2, indexV3}
	for o, err := range r.store.List(ctx, indexesV3) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", indexesV3, err)
		}
		if buildcache.KindOf(o.Key) == IndexManifest && o.Key != indexV3 {
			keys = append(keys, o.Key)
		}
	}
	r.asked = map[string]bool{}
	for _, key := range keys {
		r.asked[key] = true
	}
	found := make([][]*cacheIndex, len(keys))
	damage := make([]*Damage, len(keys))
	group, gctx := errgroup.WithContext(ctx)
	for i, key := range keys {
		group.Go(func() error {
			group, err := r.readIndex(gctx, key)
			var missing *buildcache.ObjectError
			if errors.Is(err, fs.ErrNotExist) && errors.As(err, &missing) {
				if missing.Key != key {
					damage[i] = &Damage{Key: key, What: "the index cannot be read by anyone, its blob is missing: run spack buildcache update-index, or janitor:reindex"}
				}
				return nil
			}
			found[i] = group
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, d := range damage {
		if d != nil {
			r.Damage = append(r.Damage, *d)
		}
	}
	return slices.Concat(found...), nil
}

// readIndexNow reads an index again, outside of a scan.
func readIndexNow(ctx context.Context, store buildcache.Store, opts ScanOptions, key string) ([]*cacheIndex, error) {
	r := newScanner(store, opts)
	group, err := r.readIndex(ctx, key)
	if err == nil {
		r.learnIndexes(group)
	}
	return group, err
}

// readIndex reads an index, or takes it as it is known: one in layout v2, those
// that a manifest names in v3. What is new is not in the dag yet.
func (r *scanner) readIndex(ctx context.Context, key string) ([]*cacheIndex, error) {
	if key == indexV2 {
		x, err := r.readIndexV2(ctx)
		return []*cacheIndex{x}, err
	}
	// The blob of a manifest that was replaced meanwhile may be gone: then
	// the new one is read.
	for try := 0; ; try++ {
		group, err := r.readIndexV3(ctx, key)
		var missing *buildcache.ObjectError
		if err == nil || try == 2 || !errors.Is(err, fs.ErrNotExist) || errors.As(err, &missing) && missing.Key == key {
			return group, err
		}
	}
}

func (r *scanner) readIndexV2(ctx context.Context) (*cacheIndex, error) {
	body, o, err := r.store.Get(ctx, indexV2)
	if err != nil {
		return nil, &buildcache.ObjectError{Key: indexV2, Err: err}
	}
	defer body.Close()
	x := &cacheIndex{layout: 2, object: o}
	if old := r.opts.Known.index(o.Key + "\x00" + o.ETag); old != nil && o.ETag != "" {
		x.sum, x.graph, x.ids, x.cached = old.sum, old.graph, old.ids, old.cached
	} else if err = r.readText(x, body, o.Size); err != nil {
		return nil, err
	}
	sum, _, err := buildcache.ReadAll(ctx, r.store, indexHashV2)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	x.stale = strings.TrimSpace(string(sum)) != x.sum
	return x, nil
}

func (r *scanner) readIndexV3(ctx context.Context, key string) ([]*cacheIndex, error) {
	text, o, err := buildcache.ReadAll(ctx, r.store, key)
	if err != nil {
		return nil, err
	}
	m, err := buildcache.ParseManifest(text)
	var blobs []buildcache.Blob
	if err == nil {
		blobs, err = m.BlobsOf(buildcache.IndexBlob)
	}
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: err}
	}
	var group []*cacheIndex
	for _, b := range blobs {
		if b.Compression != "none" {
			return nil, &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w: the index is compressed", buildcache.ErrFormat)}
		}
		x := &cacheIndex{layout: 3, object: o, blob: b, names: m.Blobs, sum: b.Checksum}
		if err := r.readIndexBlob(ctx, x); err != nil {
			return nil, err
		}
		group = append(group, x)
	}
	return group, nil
}

func (r *scanner) readIndexBlob(ctx context.Context, x *cacheIndex) error {
	key, want := x.blob.Key(), x.sum
	body, b, err := r.store.Get(ctx, key)
	if err != nil {
		return &buildcache.ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	if old := r.opts.Known.index(x.sum); old != nil && b.Size == old.graph.Size() {
		x.graph, x.ids, x.cached = old.graph, old.ids, old.cached
		return nil
	}
	if err := r.readText(x, body, b.Size); err != nil {
		return err
	}
	if x.sum != want {
		return &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w: not the bytes that %s names", buildcache.ErrChecksum, x.object.Key)}
	}
	return nil
}

// readText reads the text of an index: its graph and its checksum.
func (r *scanner) readText(x *cacheIndex, body io.Reader, size int64) (err error) {
	sum := sha256.New()
	x.graph, err = index.Read(io.TeeReader(body, sum), size)
	if err == nil && x.graph.Size() != size {
		err = fmt.Errorf("%d bytes came, %d were announced: %w", x.graph.Size(), size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return &buildcache.ObjectError{Key: x.textKey(), Err: err}
	}
	x.sum = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// learnIndexes puts the indexes into the dag, the biggest one first, and
// remembers them.
func (r *scanner) learnIndexes(found []*cacheIndex) {
	slices.SortStableFunc(found, func(a, b *cacheIndex) int { return b.graph.Len() - a.graph.Len() })
	for _, x := range found {
		if x.cached == nil {
			x.learn(r.dag)
		}
		r.opts.Known.remember(x)
		if note := x.graph.Note(); note != "" {
			r.opaque = x.textKey() + ": " + note
		}
	}
	r.indexes = found
}

func (k *Known) remember(x *cacheIndex) {
	name := x.sum
	if x.layout == 2 {
		name = x.object.Key + "\x00" + x.object.ETag
	}
	k.putIndex(name, x)
}
