// Package scan reads what is in a mirror: listing, indexes and manifests, and of all the rest only
// what is new. It refuses to guess: its errors mean that nothing may be deleted. It decides nothing.
package scan

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
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// ErrIncomplete is a listing that is not whole: an object is there that was not listed. Nothing is
// deleted after it.
var ErrIncomplete = errors.New("the listing is not whole")

// A Scan is what was in a mirror. All its parts are flat arrays, in which
// objects, specs and blobs are numbers: a cache of 100 000 specs takes 35
// to 60 MB. What it knows of specs may grow later, see DAG; the rest stays.
type Scan struct {
	Damage []Damage // sorted

	Known     *Known
	DAG       *dag.DAG // of known
	Objects   *listing.Objects
	bySpec    dag.Lists    // spec files, tarballs and manifests by spec
	Manifests []listing.ID // those that were read, ascending
	BlobsOf   spans        // blobs by manifest
	Blobs     []NamedBlob
	unsure    index.Bits          // manifests that must be read again next time
	missed    []string            // manifests that were known and were not listed, ascending, until somebody asked for them
	Present   index.Bits          // specs that have a spec file or manifest
	missing   map[dag.ID][]string // keys of what these should have and have not
	Indexes   []*Index
	Newer     []dag.ID        // specs that came after the inventory, and are not in it
	Odd       map[dag.ID]bool // specs with metadata of a form that is not known here
	Unknown   []string        // objects that could be parts of packages and are not understood
	Unnamed   bool            // one of them could name blobs
	Pushes    []push          // spec blobs that no manifest names yet
	Opaque    string          // an index that is not understood, so that it may not be rewritten
	AsOf      time.Time       // when the inventory was made; zero for a listing of now

	began time.Time // by our clock
}

// A push is one that is not complete: its spec blob is there, and no manifest
// that names it.
type push struct {
	Spec dag.ID
	At   time.Time // when the blob was written
}

// spans are many short lists in one, in no order.
type spans struct{ from, to, all []uint32 }

func (s *spans) Of(i uint32) []uint32 { return s.all[s.from[i]:s.to[i]] }

// Damage is something wrong with the cache that was so before we came.
type Damage struct {
	Hash buildcache.Hash `json:"hash,omitempty"`
	Spec string          `json:"spec,omitempty"`
	Key  string          `json:"key,omitempty"`
	What string          `json:"what"`

	index *Index // that has an entry of which there is nothing
	newer bool   // no damage: it came after the inventory
}

// Options are what a scan may use. The zero value will do.
type Options struct {
	Known    *Known         // what was read before
	Locks    []rootset.Lock // what they hold must have been listed if it is there
	Parallel int            // requests at a time; 16 if 0

	// Watch is told how far a step is, such as listing: how many objects are done, of how many (0: not
	// known). It is called in parallel, and may be nil.
	Watch func(step string, done, of int)

	// Inventory is read instead of listing the mirror. What came after it is
	// known as far as indexes have it.
	Inventory Inventory

	Young   time.Duration          // blobs that no manifest names and that are younger are read
	Now     func() time.Time       // time.Now if nil
	Partial bool                   // only spec files and manifests; what they name is not asked for
	Deleted func(hash []byte) bool // specs that this run has deleted: they are not missed
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

// New reads a mirror. Its errors mean that nothing may be deleted: what
// was listed is not whole, or something cannot be read.
//
// The indexes are read while it lists: each spec that an index has as cached
// must have been listed, or not be there. A cache that changes below our hands
// is read again.
func New(ctx context.Context, store buildcache.Store, opts Options) (*Scan, error) {
	if opts.Parallel == 0 {
		opts.Parallel = 16
	}
	if opts.Known == nil {
		opts.Known = OpenKnown("")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Deleted == nil {
		opts.Deleted = func([]byte) bool { return false }
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

func scanOnce(ctx context.Context, store buildcache.Store, opts Options) (*Scan, error) {
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
	opts    Options
	numbers blobTable
	asked   map[string]bool // indexes that were asked for
	listed  atomic.Int64    // objects
}

// Tell tells how far a step is.
func (o Options) Tell(step string, done, of int) {
	if o.Watch != nil {
		o.Watch(step, done, of)
	}
}

func newScanner(store buildcache.Store, opts Options) *scanner {
	s := &Scan{Known: opts.Known, DAG: opts.Known.dag, missing: map[dag.ID][]string{}, Odd: map[dag.ID]bool{}}
	if opts.Now != nil {
		s.began = opts.Now()
	}
	return &scanner{Scan: s, store: store, opts: opts}
}
