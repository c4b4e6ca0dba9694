package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
)

// A Index is what readers take for the list of a cache's specs. Layout v3
// has one more for each view.
type Index struct {
	Layout int
	Object buildcache.Object // index.json, or the manifest
	Blob   buildcache.Blob   // v3
	Names  []buildcache.Blob // v3: all that the manifest names; an index for each version of Spack's database
	Sum    string            // of its text
	Graph  *index.Graph
	Stale  bool // v2: index.json.hash is not that of index.json

	ids      []dag.ID   // in the dag, by the numbers of the graph; nil if they are the same
	Cached   index.Bits // specs that it has as cached
	Dangling index.Bits // those of them of which there is nothing
}

// ID returns the number in the DAG of a node of the graph.
func (x *Index) ID(i uint32) dag.ID {
	if x.ids == nil {
		return i
	}
	return x.ids[i]
}

// learn puts an index into the dag.
func (x *Index) learn(d *dag.DAG) {
	x.ids = d.AddGraph(x.Graph, true)
	x.Cached = index.NewBits(d.Len())
	for _, i := range x.Graph.Entries() {
		if x.Graph.InCache(i) {
			x.Cached.Set(x.ID(i))
		}
	}
}

// TextKey is where the text lies.
func (x *Index) TextKey() string {
	if x.Layout == 2 {
		return x.Object.Key
	}
	return x.Blob.Key()
}

// readIndexes reads all indexes. A cache need not have any. The main ones are
// asked for by name, whatever a listing says.
func (r *scanner) readIndexes(ctx context.Context) ([]*Index, error) {
	keys, err := index.Keys(ctx, r.store)
	if err != nil {
		return nil, err
	}
	r.asked = map[string]bool{}
	for _, key := range keys {
		r.asked[key] = true
	}
	found := make([][]*Index, len(keys))
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
			if errors.Is(err, buildcache.ErrFormat) || errors.Is(err, buildcache.ErrChecksum) {
				err = fmt.Errorf("%w; as long as it cannot be read nothing is deleted: run spack buildcache update-index, or remove it by hand and run janitor:reindex", err)
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

// ReadIndex reads an index again, outside of a scan.
func ReadIndex(ctx context.Context, store buildcache.Store, opts Options, key string) ([]*Index, error) {
	r := newScanner(store, opts)
	group, err := r.readIndex(ctx, key)
	if err == nil {
		r.learnIndexes(group)
	}
	return group, err
}

// readIndex reads an index, or takes it as it is known: one in layout v2, those
// that a manifest names in v3. What is new is not in the dag yet.
func (r *scanner) readIndex(ctx context.Context, key string) ([]*Index, error) {
	if key == IndexV2 {
		x, err := r.readIndexV2(ctx)
		return []*Index{x}, err
	}
	return index.Again(key, func() ([]*Index, error) { return r.readIndexV3(ctx, key) })
}

func (r *scanner) readIndexV2(ctx context.Context) (*Index, error) {
	body, o, err := r.store.Get(ctx, IndexV2)
	if err != nil {
		return nil, &buildcache.ObjectError{Key: IndexV2, Err: err}
	}
	defer body.Close()
	x := &Index{Layout: 2, Object: o}
	if old := r.opts.Known.index(o.Key + "\x00" + o.ETag); old != nil && o.ETag != "" {
		x.Sum, x.Graph, x.ids, x.Cached = old.Sum, old.Graph, old.ids, old.Cached
	} else if err = r.readText(x, body, o.Size); err != nil {
		return nil, err
	}
	sum, _, err := buildcache.ReadAll(ctx, r.store, IndexHashV2)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	x.Stale = strings.TrimSpace(string(sum)) != x.Sum
	return x, nil
}

func (r *scanner) readIndexV3(ctx context.Context, key string) ([]*Index, error) {
	m, o, blobs, err := index.Blobs(ctx, r.store, key)
	if err != nil {
		return nil, err
	}
	var group []*Index
	for _, b := range blobs {
		x := &Index{Layout: 3, Object: o, Blob: b, Names: m.Blobs, Sum: b.Checksum}
		if err := r.readIndexBlob(ctx, x); err != nil {
			return nil, err
		}
		group = append(group, x)
	}
	return group, nil
}

func (r *scanner) readIndexBlob(ctx context.Context, x *Index) error {
	key, want := x.Blob.Key(), x.Sum
	body, b, err := r.store.Get(ctx, key)
	if err != nil {
		return &buildcache.ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	if old := r.opts.Known.index(x.Sum); old != nil && b.Size == old.Graph.Size() {
		x.Graph, x.ids, x.Cached = old.Graph, old.ids, old.Cached
		return nil
	}
	if err := r.readText(x, body, b.Size); err != nil {
		return err
	}
	if x.Sum != want {
		return &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w: not the bytes that %s names", buildcache.ErrChecksum, x.Object.Key)}
	}
	return nil
}

// readText reads the text of an index: its graph and its checksum.
func (r *scanner) readText(x *Index, body io.Reader, size int64) (err error) {
	if x.Graph, x.Sum, err = index.ReadSum(body, size); err != nil {
		return &buildcache.ObjectError{Key: x.TextKey(), Err: err}
	}
	return nil
}

// learnIndexes puts the indexes into the dag, the biggest one first, and
// remembers them.
func (r *scanner) learnIndexes(found []*Index) {
	slices.SortStableFunc(found, func(a, b *Index) int { return b.Graph.Len() - a.Graph.Len() })
	for _, x := range found {
		if x.Cached == nil {
			x.learn(r.DAG)
		}
		r.opts.Known.remember(x)
		if note := x.Graph.Note(); note != "" {
			r.Opaque = x.TextKey() + ": " + note
		}
	}
	r.Indexes = found
}

func (k *Known) remember(x *Index) {
	name := x.Sum
	if x.Layout == 2 {
		name = x.Object.Key + "\x00" + x.Object.ETag
	}
	k.putIndex(name, x)
}
