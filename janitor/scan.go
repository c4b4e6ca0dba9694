package janitor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// ErrIncomplete is a listing that is not whole: an object is there that was not listed. Nothing is
// deleted after it.
var ErrIncomplete = errors.New("the listing is not whole")

// A Scan is what was in a mirror. All its parts are flat arrays, in which
// objects, specs and blobs are numbers: a cache of 100 000 specs takes 35
// to 60 MB. What it knows of specs may grow later, see dag; the rest stays.
type Scan struct {
	Damage []Damage // sorted

	known     *Known
	dag       *dag // of known
	objects   *objects
	bySpec    lists      // spec files, tarballs and manifests by spec
	manifests []objectID // those that were read, ascending
	blobsOf   spans      // blobs by manifest
	blobs     []blob
	unsure    index.Bits      // manifests that must be read again next time
	missed    []string        // manifests that were known and were not listed, ascending, until somebody asked for them
	present   index.Bits      // specs that have a spec file or manifest
	missing   map[id][]string // keys of what these should have and have not
	indexes   []*cacheIndex
	newer     []id        // specs that came after the inventory, and are not in it
	odd       map[id]bool // specs with metadata of a form that is not known here
	unknown   []string    // objects that could be parts of packages and are not understood
	unnamed   bool        // one of them could name blobs
	pushes    []push      // spec blobs that no manifest names yet
	opaque    string      // an index that is not understood, so that it may not be rewritten
	asOf      time.Time   // when the inventory was made; zero for a listing of now

	began time.Time // by our clock
}

// A push is one that is not complete: its spec blob is there, and no manifest
// that names it.
type push struct {
	spec id
	at   time.Time // when the blob was written
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

	// Watch is told how far a step is, such as listing: how many objects are done, of how many (0: not
	// known). It is called in parallel, and may be nil.
	Watch func(step string, done, of int)

	// Inventory is read instead of listing the mirror. What came after it is
	// known as far as indexes have it.
	Inventory Inventory

	young   time.Duration          // blobs that no manifest names and that are younger are read
	now     func() time.Time       // time.Now if nil
	partial bool                   // only spec files and manifests; what they name is not asked for
	deleted func(hash []byte) bool // specs that this run has deleted: they are not missed
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
var prefixes = [][]string{{"build_cache/"}, {"v", "blobs/"}}

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
	if opts.now == nil {
		opts.now = time.Now
	}
	if opts.deleted == nil {
		opts.deleted = func([]byte) bool { return false }
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
	steps := []func(context.Context) error{r.readListing, r.readManifests, r.gather, r.readSpecFiles, r.readPushes, r.complete}
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
	numbers blobTable
	asked   map[string]bool // indexes that were asked for
	listed  atomic.Int64    // objects
}

// watch tells how far a step is.
func (o ScanOptions) watch(step string, done, of int) {
	if o.Watch != nil {
		o.Watch(step, done, of)
	}
}

func newScanner(store buildcache.Store, opts ScanOptions) *scanner {
	s := &Scan{known: opts.Known, dag: opts.Known.dag, missing: map[id][]string{}, odd: map[id]bool{}}
	if opts.now != nil {
		s.began = opts.now()
	}
	return &scanner{Scan: s, store: store, opts: opts}
}
