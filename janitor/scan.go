package janitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// An Object is one of the mirror, sorted.
type Object struct {
	buildcache.Object
	Kind Kind
}

// deletable says whether an object may ever be deleted by a plan.
func (o *Object) deletable() bool {
	return o.Kind.counts() || o.Kind == Own && strings.HasPrefix(o.Key, replacedPrefix)
}

// A Spec is a spec that is in the cache: it has a spec file or a manifest.
type Spec struct {
	*buildcache.Spec
	Objects []*Object // spec files, manifests, tarballs
	Blobs   []string  // keys of what its manifests name
	Indexed bool      // an index has it as cached
	Missing []string  // keys of what it should have and has not
}

// A Scan is what was in a mirror.
type Scan struct {
	Objects map[string]*Object
	Specs   map[buildcache.Hash]*Spec            // in the cache, indexed or not
	Nodes   map[buildcache.Hash]*buildcache.Spec // all that is known, externals too
	Damage  []Damage                             // sorted

	blobs   map[string][]buildcache.Blob // by the key of the manifest that names them
	indexes []*index
}

// Damage is something wrong with the cache that was so before we came.
type Damage struct {
	Hash buildcache.Hash `json:"hash,omitempty"`
	Spec string          `json:"spec,omitempty"`
	Key  string          `json:"key,omitempty"`
	What string          `json:"what"`

	index *index // that has an entry of which there is nothing
}

// ScanOptions are what a scan may use. The zero value will do.
type ScanOptions struct {
	Known    *Known // manifests that were read before
	Locks    []Lock // what they hold must have been listed if it is there
	Parallel int    // requests at a time; 16 if 0
}

// prefixes are all that is listed. What lies elsewhere in a bucket is never
// even seen. "v" is v3 and any layout that is newer than this program. Blobs
// come after the manifests that name them, as a push writes them before.
var prefixes = [][]string{{"build_cache/"}, {"v", "blobs/"}, {Prefix}}

// NewScan reads a mirror. Its errors mean that nothing may be deleted: what
// was listed is not whole, or something cannot be read.
//
// The indexes are read before the listing, such that no entry is newer than
// it: each spec that an index has as cached must then have been listed. A cache
// that changes below our hands is read again.
func NewScan(ctx context.Context, store buildcache.Store, opts ScanOptions) (*Scan, error) {
	if opts.Parallel == 0 {
		opts.Parallel = 16
	}
	for try := 1; ; try++ {
		s, err := scanOnce(ctx, store, opts)
		if err == nil {
			return s, nil
		}
		if try == 3 || !errors.Is(err, ErrIncomplete) && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("scan: %w", err)
		}
	}
}

func scanOnce(ctx context.Context, store buildcache.Store, opts ScanOptions) (*Scan, error) {
	r := &scanner{store: store, opts: opts, Scan: &Scan{
		Objects: map[string]*Object{},
		Specs:   map[buildcache.Hash]*Spec{},
		Nodes:   map[buildcache.Hash]*buildcache.Spec{},
		blobs:   map[string][]buildcache.Blob{},
	}}
	for _, step := range []func(context.Context) error{r.readIndexes, r.list, r.readManifests, r.gather, r.readSpecFiles, r.gate} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(r.Damage, func(a, b Damage) int {
		return strings.Compare(a.Spec+string(a.Hash)+a.Key, b.Spec+string(b.Hash)+b.Key)
	})
	return r.Scan, nil
}

// A scanner fills a scan.
type scanner struct {
	*Scan
	store  buildcache.Store
	opts   ScanOptions
	caches map[int]*buildcache.Cache // by layout: to look single specs up
}

func (r *scanner) list(ctx context.Context) error {
	lists := make([][]*Object, len(prefixes))
	group, gctx := errgroup.WithContext(ctx)
	for i, chain := range prefixes {
		group.Go(func() error {
			for _, prefix := range chain {
				for o, err := range r.store.List(gctx, prefix) {
					if err != nil {
						return fmt.Errorf("list %s: %w", prefix, err)
					}
					if fromTheFuture(o.Key) {
						return fmt.Errorf("%s: %w: of a layout that is not known here (2 and 3 are), which may use the same blobs: update this program", o.Key, buildcache.ErrFormat)
					}
					lists[i] = append(lists[i], &Object{o, kindOf(o.Key)})
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	n := 0
	for _, list := range lists {
		for _, o := range list {
			r.Objects[o.Key] = o
			if o.Kind != Own && o.Kind != Foreign {
				n++
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("%w: nothing below build_cache/, v3/ or blobs/: check the mirror's address", buildcache.ErrNoCache)
	}
	return nil
}

// readManifests reads every manifest: the blobs that they name are no orphans.
func (r *scanner) readManifests(ctx context.Context) error {
	keys := r.keys(Manifest, IndexManifest, OtherManifest)
	found := make([][]buildcache.Blob, len(keys))
	err := r.each(ctx, len(keys), func(ctx context.Context, i int) error {
		o := r.Objects[keys[i]]
		if blobs, ok := r.opts.Known.get(o.Object); ok {
			found[i] = blobs
			return nil
		}
		data, at, err := r.get(ctx, o.Key)
		if err != nil {
			return err
		}
		m, err := buildcache.ParseManifest(data)
		if err != nil && o.Kind == OtherManifest && !strings.HasSuffix(o.Key, ".manifest.json") {
			o.Kind = Foreign // whatever it is, it is no manifest
			return nil
		}
		if err != nil {
			return unreadable(o.Key, err)
		}
		found[i] = m.Blobs
		r.opts.Known.put(at, m.Blobs)
		return nil
	})
	for i, key := range keys {
		r.blobs[key] = found[i]
	}
	return err
}

func unreadable(key string, err error) error {
	return &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w; as long as it cannot be read nothing is deleted: push its package again, or remove it by hand", err)}
}

// gather makes specs of the objects and nodes of the index entries.
func (r *scanner) gather(context.Context) error {
	for _, key := range r.keys(SpecFile, Manifest) {
		hash, _ := buildcache.KeyHash(key)
		s := r.Specs[hash]
		if s == nil {
			s = &Spec{}
			r.Specs[hash] = s
		}
		s.Objects = append(s.Objects, r.Objects[key])
		for _, b := range r.blobs[key] {
			if k := b.Key(); !slices.Contains(s.Blobs, k) {
				s.Blobs = append(s.Blobs, k)
			}
		}
	}
	for _, key := range r.keys(Tarball) {
		hash, _ := buildcache.KeyHash(key)
		if s := r.Specs[hash]; s != nil && slices.ContainsFunc(s.Objects, func(o *Object) bool { return o.Kind == SpecFile }) {
			s.Objects = append(s.Objects, r.Objects[key])
		}
	}
	for _, x := range r.indexes {
		for _, e := range x.entries.records {
			r.addNode(e.spec)
			if s := r.Specs[e.hash]; s != nil && e.cached {
				s.Indexed = true
			}
		}
	}
	for hash, s := range r.Specs {
		s.Spec = r.Nodes[hash]
	}
	return nil
}

// addNode remembers a node. Two that differ in their edges count as one with
// the edges of both.
func (r *scanner) addNode(n *buildcache.Spec) {
	old := r.Nodes[n.Hash]
	if old == nil {
		r.Nodes[n.Hash] = n
		return
	}
	both := *old // entries are shared between scans
	for _, d := range n.Dependencies {
		same := func(o buildcache.Dependency) bool { return o.Hash == d.Hash && o.Types|d.Types == o.Types }
		if !slices.ContainsFunc(both.Dependencies, same) {
			both.Dependencies = append(slices.Clone(both.Dependencies), d)
		}
	}
	both.BuildSpec = cmp.Or(both.BuildSpec, n.BuildSpec)
	r.Nodes[n.Hash] = &both
}

// readSpecFiles reads the whole DAG of each spec that no index describes, and
// of those with a dependency that none does.
func (r *scanner) readSpecFiles(ctx context.Context) error {
	var hashes []buildcache.Hash
	for hash, s := range r.Specs {
		if s.Spec == nil || slices.ContainsFunc(s.Dependencies, func(d buildcache.Dependency) bool { return r.Nodes[d.Hash] == nil }) {
			hashes = append(hashes, hash)
		}
	}
	slices.Sort(hashes)
	dags := make([][]*buildcache.Spec, len(hashes))
	cache := &buildcache.Cache{Store: r.store}
	err := r.each(ctx, len(hashes), func(ctx context.Context, i int) error {
		for _, o := range r.Specs[hashes[i]].Objects {
			if o.Kind == Tarball {
				continue
			}
			p := &buildcache.Package{Spec: &buildcache.Spec{Hash: hashes[i]}, SpecKey: o.Key, Layout: 2}
			if o.Kind == Manifest {
				p.Layout = 3
			}
			_, nodes, err := cache.Spec(ctx, p)
			if err != nil {
				return unreadable(o.Key, err)
			}
			dags[i] = append(dags[i], nodes...)
		}
		return nil
	})
	for i, hash := range hashes {
		for _, n := range dags[i] {
			n.Parameters = nil // variants decide nothing here, and are most of the memory
			r.addNode(n)
		}
		r.Specs[hash].Spec = r.Nodes[hash]
	}
	return err
}

// keys returns the keys of some kinds of objects in ascending order.
func (s *Scan) keys(kinds ...Kind) []string {
	var keys []string
	for key, o := range s.Objects {
		if slices.Contains(kinds, o.Kind) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// hashes returns those of the specs in ascending order.
func (s *Scan) hashes() []buildcache.Hash { return slices.Sorted(maps.Keys(s.Specs)) }

// uploaded returns when the youngest of a spec's objects was written.
func (s *Scan) uploaded(spec *Spec) time.Time {
	var at time.Time
	for _, o := range s.objectsOf(spec) {
		if o.ModTime.After(at) {
			at = o.ModTime
		}
	}
	return at
}

// objectsOf returns a spec's objects, with the blobs that its manifests name.
func (s *Scan) objectsOf(spec *Spec) []*Object {
	all := slices.Clone(spec.Objects)
	for _, key := range spec.Blobs {
		if o := s.Objects[key]; o != nil {
			all = append(all, o)
		}
	}
	return all
}

// each runs f for 0 to n-1, some at a time.
func (r *scanner) each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	for i := range n {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error { return f(gctx, i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// get reads a small object; that it went away since it was listed is an error
// like any other.
func (r *scanner) get(ctx context.Context, key string) ([]byte, buildcache.Object, error) {
	return get(ctx, r.store, key)
}

func get(ctx context.Context, store buildcache.Store, key string) ([]byte, buildcache.Object, error) {
	body, o, err := store.Get(ctx, key)
	if err != nil {
		return nil, o, &buildcache.ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, o, &buildcache.ObjectError{Key: key, Err: err}
	}
	if o.Size != int64(len(data)) {
		return nil, o, &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%d bytes came, %d were announced: %w", len(data), o.Size, io.ErrUnexpectedEOF)}
	}
	return data, o, nil
}

// exists looks whether an object is there though it was not listed.
func exists(ctx context.Context, store buildcache.Store, key string) (bool, error) {
	body, _, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &buildcache.ObjectError{Key: key, Err: err}
	}
	return true, body.Close()
}
