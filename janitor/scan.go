package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A Scan is what was in a mirror. All its parts are flat arrays, in which
// objects, specs and blobs are numbers: a cache of 100 000 specs takes 35
// to 60 MB. What it knows of specs may grow later, see dag; the rest stays.
type Scan struct {
	Damage []Damage // sorted

	known     *Known
	dag       *dag // of known
	objects   *objects
	gone      index.Bits // objects that were deleted since
	bySpec    lists      // spec files, tarballs and manifests by spec
	manifests []objectID // those that were read, ascending
	blobsOf   spans      // blobs by manifest
	blobs     []blob
	unsure    index.Bits      // manifests that must be read again next time
	missed    []string        // manifests that were known and were not listed, ascending, until somebody asked for them
	present   index.Bits      // specs that have a spec file or manifest
	missing   map[id][]string // keys of what these should have and have not
	indexes   []*cacheIndex
	newer     []id      // specs that came after the inventory, and are not in it
	asOf      time.Time // when the inventory was made; zero for a listing of now

	began time.Time // by this machine's clock
	took  time.Duration
}

// lists are many short lists of numbers in one.
type lists struct {
	start []uint32 // one more than there are lists
	all   []uint32
}

func (l *lists) of(i uint32) []uint32 {
	if int(i)+1 >= len(l.start) {
		return nil
	}
	return l.all[l.start[i]:l.start[i+1]]
}

// spans are many short lists in one, in no order.
type spans struct{ from, to, all []uint32 }

func (s *spans) of(i uint32) []uint32 { return s.all[s.from[i]:s.to[i]] }

// Damage is something wrong with the cache that was so before we came.
type Damage struct {
	Hash buildcache.Hash `json:"hash,omitempty"`
	Spec string          `json:"spec,omitempty"`
	Key  string          `json:"key,omitempty"`
	What string          `json:"what"`

	index *cacheIndex // that has an entry of which there is nothing
	newer bool        // no damage: it came after the inventory
}

// ScanOptions are what a scan may use. The zero value will do.
type ScanOptions struct {
	Known    *Known // what was read before
	Locks    []Lock // what they hold must have been listed if it is there
	Parallel int    // requests at a time; 16 if 0

	// KeepTexts keeps the texts of indexes on this machine, in files without
	// names, until the scan is forgotten: a run that changes them need not get
	// them again.
	KeepTexts bool

	// Inventory is read instead of listing the mirror. What came after it is
	// known as far as indexes have it.
	Inventory Inventory
}

// An Inventory is a listing that somebody else made some time ago.
type Inventory interface {
	// List yields the objects whose keys begin with prefix, in any order. An
	// error ends the sequence.
	List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error]

	// At returns when it was begun to be made.
	At() time.Time
}

// prefixes are all that is listed. What lies elsewhere in a bucket is never
// even seen. "v" is v3 and any layout that is newer than this program. Blobs
// come after the manifests that name them, as a push writes them before.
var prefixes = [][]string{{"build_cache/"}, {"v", "blobs/"}, {replacedPrefix}}

// NewScan reads a mirror. Its errors mean that nothing may be deleted: what
// was listed is not whole, or something cannot be read.
//
// The indexes are read while it lists: each spec that an index has as cached
// must have been listed, or not be there. A cache that changes below our hands
// is read again.
func NewScan(ctx context.Context, store buildcache.Store, opts ScanOptions) (*Scan, error) {
	if opts.Parallel == 0 {
		opts.Parallel = 16
	}
	if opts.Known == nil {
		opts.Known = OpenKnown("")
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
	r := newScanner(store, opts)
	steps := []func(context.Context) error{r.readListing, r.readManifests, r.gather, r.readSpecFiles, r.gate}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	r.missed = nil
	slices.SortFunc(r.Damage, func(a, b Damage) int {
		return strings.Compare(a.Spec+string(a.Hash)+a.Key, b.Spec+string(b.Hash)+b.Key)
	})
	return r.Scan, nil
}

// A scanner fills a scan.
type scanner struct {
	*Scan
	store   buildcache.Store
	opts    ScanOptions
	before  *Scan // the one before, if there was one
	numbers blobTable
	asked   map[string]bool // indexes that were asked for
}

func newScanner(store buildcache.Store, opts ScanOptions) *scanner {
	s := &Scan{known: opts.Known, dag: opts.Known.dag, missing: map[id][]string{}, began: time.Now()}
	return &scanner{Scan: s, store: store, opts: opts, before: opts.Known.last}
}

// readListing lists the mirror, and reads the indexes meanwhile.
func (r *scanner) readListing(ctx context.Context) error {
	var found []*cacheIndex
	lists := make([]collector, len(prefixes))
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		found, err = r.readIndexes(gctx)
		return err
	})
	if r.opts.Inventory != nil {
		r.asOf = r.opts.Inventory.At()
		group.Go(func() error { return r.readInventory(gctx, &lists[0]) })
	} else {
		for i, chain := range prefixes {
			group.Go(func() error {
				for _, prefix := range chain {
					if err := r.list(gctx, prefix, &lists[i]); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.took = time.Since(r.began)
	r.learnIndexes(found)
	r.objects = merge(lists)
	for i := range objectID(r.objects.len()) {
		if k := r.objects.at(i).kind; k != Own && k != Foreign {
			return nil
		}
	}
	return fmt.Errorf("%w: nothing below build_cache/, v3/ or blobs/: check the mirror's address", buildcache.ErrNoCache)
}

// A sharder lists several parts of a prefix at a time, in no order. The parts
// are a guess at prefixes that divide it evenly, made from its first page; it
// lists what is outside of them as well.
type sharder interface {
	ListShards(ctx context.Context, prefix string, guess func(first []buildcache.Object) []string) iter.Seq2[buildcache.Object, error]
}

func (r *scanner) list(ctx context.Context, prefix string, c *collector) error {
	all := r.store.List(ctx, prefix)
	if s, ok := capable(r.store).(sharder); ok {
		all = s.ListShards(ctx, prefix, func(first []buildcache.Object) []string { return shards(first, c.len()) })
	}
	for o, err := range all {
		if err == nil {
			err = c.take(o)
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	return nil
}

// take adds an object, unless nobody can say what it means.
func (c *collector) take(o buildcache.Object) error {
	if fromTheFuture(o.Key) {
		return fmt.Errorf("%s: %w: of a layout that is not known here (2 and 3 are), which may use the same blobs: update this program", o.Key, buildcache.ErrFormat)
	}
	c.add(o, kindOf(o.Key))
	return nil
}

// readInventory takes what would have been listed, in pieces that it sorts.
func (r *scanner) readInventory(ctx context.Context, c *collector) error {
	var piece []buildcache.Object
	sort := func() error {
		slices.SortFunc(piece, func(a, b buildcache.Object) int { return strings.Compare(a.Key, b.Key) })
		for _, o := range piece {
			if err := c.take(o); err != nil {
				return err
			}
		}
		piece = piece[:0]
		return nil
	}
	for o, err := range r.opts.Inventory.List(ctx, "") {
		if err != nil {
			return err
		}
		for _, prefix := range slices.Concat(prefixes...) {
			if strings.HasPrefix(o.Key, prefix) {
				piece = append(piece, o)
			}
		}
		if len(piece) == 1<<16 {
			if err := sort(); err != nil {
				return err
			}
		}
	}
	return sort()
}

// manyManifests have some 40 pages of blobs: with fewer, the last pages of 16
// listings would be as many again.
const manyManifests = 20_000

// shards guesses: blobs by the first digit of their checksums, if there are
// many manifests; the tarballs of v2 apart from its spec files, by the
// architecture in the name of one of these.
func shards(first []buildcache.Object, manifests int) []string {
	for _, o := range first {
		switch kindOf(o.Key) {
		case Blob:
			if manifests < manyManifests {
				return nil
			}
			var all []string
			for _, digit := range "0123456789abcdef" {
				all = append(all, blobsPrefix+string(digit))
			}
			return all
		case SpecFile:
			name := strings.TrimPrefix(o.Key, "build_cache/")
			if arch := strings.SplitN(name, "-", 4); len(arch) == 4 && !strings.Contains(name, "/") {
				return []string{"build_cache/" + strings.Join(arch[:3], "-") + "/"}
			}
		}
	}
	return nil
}

func unreadable(key string, err error) error {
	return &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w; as long as it cannot be read nothing is deleted: push its package again, or remove it by hand", err)}
}

// gather brings objects, specs and blobs together.
func (r *scanner) gather(context.Context) error {
	r.findBlobs()
	counts := make([]uint32, r.dag.len())
	for i, key := range r.objects.all() {
		o := r.objects.at(i)
		if o.kind != SpecFile && o.kind != Manifest && o.kind != Tarball {
			continue
		}
		at := r.dag.internText(hashOf(key))
		o.of = at + 1
		if int(at) >= len(counts) {
			counts = append(counts, make([]uint32, int(at)+1-len(counts))...)
		}
		counts[at]++
	}
	r.bySpec = lists{start: make([]uint32, len(counts)+1), all: make([]uint32, 0, r.objects.len())}
	var end uint32
	for i, n := range counts {
		r.bySpec.start[i] = end
		end += n
	}
	r.bySpec.start[len(counts)] = end
	r.bySpec.all = make([]uint32, end)
	next := slices.Clone(r.bySpec.start)
	r.present = index.NewBits(len(counts))
	for i := range objectID(r.objects.len()) {
		o := r.objects.at(i)
		if o.of == 0 || o.kind == Blob {
			continue
		}
		at := o.of - 1
		r.bySpec.all[next[at]] = i
		next[at]++
		if o.kind != Tarball {
			r.present.Set(at)
		}
	}
	return nil
}

// readSpecFiles reads the whole DAG of each spec that no index describes, and
// of those with a dependency that none does.
func (r *scanner) readSpecFiles(ctx context.Context) error {
	var files []objectID
	for at := range r.specs() {
		whole := r.dag.told(at)
		for to := range r.dag.edges(at) {
			whole = whole && r.dag.told(to)
		}
		for _, o := range r.own(at) {
			if !whole && r.objects.at(o).kind != Tarball {
				files = append(files, o)
			}
		}
	}
	dags := make([][]*buildcache.Spec, len(files))
	cache := &buildcache.Cache{Store: r.store}
	err := r.each(ctx, len(files), func(ctx context.Context, i int) (err error) {
		_, dags[i], err = cache.Spec(ctx, r.pack(files[i]))
		if err != nil {
			return unreadable(r.objects.key(files[i]), err)
		}
		return nil
	})
	for _, nodes := range dags {
		for _, n := range nodes {
			r.dag.add(n)
		}
	}
	return err
}

// pack returns the package of a spec file or manifest, as far as it is known.
func (s *Scan) pack(o objectID) *buildcache.Package {
	p := &buildcache.Package{Spec: &buildcache.Spec{Hash: s.dag.hash(s.objects.at(o).of - 1)}, SpecKey: s.objects.key(o), Layout: 2}
	if s.objects.at(o).kind == Manifest {
		p.Layout = 3
	}
	return p
}

// keys yields the keys of some objects.
func (s *Scan) keys(objects []objectID) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, o := range objects {
			if !yield(s.objects.key(o)) {
				return
			}
		}
	}
}

// specs yields the specs that are in the cache: those with a spec file or a
// manifest.
func (s *Scan) specs() iter.Seq[id] { return s.present.All() }

// own returns the spec files, manifests and tarballs of a spec. A tarball alone
// makes no spec, and belongs to none.
func (s *Scan) own(at id) []objectID {
	all := s.bySpec.of(at)
	file := slices.ContainsFunc(all, func(o objectID) bool { return s.has(o) && s.objects.at(o).kind == SpecFile })
	drop := func(o objectID) bool { return !s.has(o) || !file && s.objects.at(o).kind == Tarball }
	if !slices.ContainsFunc(all, drop) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), drop)
}

// has says that an object was not deleted since.
func (s *Scan) has(o objectID) bool { return !s.gone.Has(o) }

// owned says whether a tarball is that of a spec with a spec file.
func (s *Scan) owned(o objectID) bool { return slices.Contains(s.own(s.objects.at(o).of-1), o) }

// hasKind says whether a spec has an object of a kind.
func (s *Scan) hasKind(at id, kind Kind) bool {
	return slices.ContainsFunc(s.own(at), func(o objectID) bool { return s.objects.at(o).kind == kind })
}

// hasLayout says whether a spec has a spec file or manifest in a layout.
func (s *Scan) hasLayout(at id, layout int) bool {
	if layout == 2 {
		return s.hasKind(at, SpecFile)
	}
	return s.hasKind(at, Manifest)
}

// all returns a spec's objects, with the blobs that its manifests name.
func (s *Scan) all(at id) []objectID {
	own := s.own(at)
	all := own[:len(own):len(own)]
	for _, o := range own {
		for _, b := range s.blobsNamed(o) {
			if object := s.blobs[b].object; object != 0 && s.has(object-1) && !slices.Contains(all, object-1) {
				all = append(all, object-1)
			}
		}
	}
	return all
}

// uploaded returns when the youngest of a spec's objects was written.
func (s *Scan) uploaded(at id) time.Time {
	var youngest *object
	for _, i := range s.all(at) {
		if o := s.objects.at(i); youngest == nil || o.written > youngest.written {
			youngest = o
		}
	}
	return youngest.time()
}

// of returns the objects of some kinds, in the order of their keys.
func (s *Scan) of(kinds ...Kind) iter.Seq[objectID] {
	return func(yield func(objectID) bool) {
		for i := range objectID(s.objects.len()) {
			if s.has(i) && slices.Contains(kinds, s.objects.at(i).kind) && !yield(i) {
				return
			}
		}
	}
}

// without returns what is left of a scan when some objects were deleted and
// indexes replaced: what a new scan would find if nobody else wrote meanwhile.
func (s *Scan) without(gone index.Bits, indexes []*cacheIndex) *Scan {
	left := *s
	left.gone, left.indexes = gone, indexes
	left.present = index.NewBits(64 * len(s.present))
	for at := range s.specs() {
		for _, o := range s.bySpec.of(at) {
			if left.has(o) && s.objects.at(o).kind != Tarball {
				left.present.Set(at)
			}
		}
	}
	return &left
}

// An Object is one of the mirror, sorted.
type Object struct {
	buildcache.Object
	Kind Kind
}

// Object looks an object up.
func (s *Scan) Object(key string) (Object, bool) {
	i, ok := s.objects.find(key)
	if !ok || !s.has(i) {
		return Object{}, false
	}
	return Object{s.objects.get(i), s.objects.at(i).kind}, true
}

// A Spec is one that is in the cache: it has a spec file or a manifest.
type Spec struct {
	Hash          buildcache.Hash
	Name, Version string
	Indexed       bool     // an index has it as cached
	Objects       []Object // its spec files, manifests, tarballs and blobs
}

// Specs yields the specs that are in the cache.
func (s *Scan) Specs() iter.Seq[Spec] {
	return func(yield func(Spec) bool) {
		for at := range s.specs() {
			spec := Spec{Hash: s.dag.hash(at), Name: s.dag.name(at), Version: s.dag.version(at), Indexed: s.indexed(at)}
			for _, o := range s.all(at) {
				spec.Objects = append(spec.Objects, Object{s.objects.get(o), s.objects.at(o).kind})
			}
			if !yield(spec) {
				return
			}
		}
	}
}

func (s *Scan) indexed(at id) bool {
	return slices.ContainsFunc(s.indexes, func(x *cacheIndex) bool { return x.cached.Has(at) })
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
	var data bytes.Buffer
	if _, err := data.ReadFrom(body); err != nil {
		return nil, o, &buildcache.ObjectError{Key: key, Err: err}
	}
	if o.Size != int64(data.Len()) {
		return nil, o, &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%d bytes came, %d were announced: %w", data.Len(), o.Size, io.ErrUnexpectedEOF)}
	}
	return data.Bytes(), o, nil
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
