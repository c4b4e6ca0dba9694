package scan

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
)

// readListing lists the mirror, and reads the indexes meanwhile.
func (r *scanner) readListing(ctx context.Context) error {
	r.opts.Tell("listed", 0, 0)
	var found []*Index
	lists := make([]listing.Collector, len(prefixes))
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		found, err = r.readIndexes(gctx)
		return err
	})
	if r.opts.Inventory != nil {
		r.AsOf = r.opts.Inventory.At()
		group.Go(func() error { return r.readInventory(gctx, &lists[0]) })
	} else {
		for i, chain := range prefixes {
			if r.opts.Partial {
				chain = chain[:1] // no blobs
			}
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
	r.learnIndexes(found)
	r.Objects = listing.Merge(lists)
	for i := range listing.ID(r.Objects.Len()) {
		if k := r.Objects.At(i).Kind; k != Foreign && k != Unknown {
			return nil
		}
	}
	if r.opts.Partial {
		return nil // this run has deleted all
	}
	if !r.AsOf.IsZero() {
		return fmt.Errorf("%w: the inventory has nothing below build_cache/, v3/ or blobs/ of the mirror: check its filter, and the mirror's address", buildcache.ErrNoCache)
	}
	return fmt.Errorf("%w: nothing below build_cache/, v3/ or blobs/: check the mirror's address", buildcache.ErrNoCache)
}

// A sharder lists several parts of a prefix at a time, in no order. The parts
// are a guess at prefixes that divide it evenly, made from its first page; it
// lists what is outside of them as well.
type sharder interface {
	ListShards(ctx context.Context, prefix string, guess func(first []buildcache.Object) []string) iter.Seq2[buildcache.Object, error]
}

// An outsider lists a prefix without some parts of it, of which it does not
// even ask the server.
type outsider interface {
	ListOutside(ctx context.Context, prefix string, parts []string) iter.Seq2[buildcache.Object, error]
}

func (r *scanner) list(ctx context.Context, prefix string, c *listing.Collector) error {
	all := r.store.List(ctx, prefix)
	if s, ok := buildcache.Capable(r.store).(outsider); ok && r.opts.Partial && prefix == "build_cache/" {
		all = s.ListOutside(ctx, prefix, r.opts.Known.tarballFolders())
	} else if s, ok := buildcache.Capable(r.store).(sharder); ok {
		all = s.ListShards(ctx, prefix, func(first []buildcache.Object) []string { return shards(first, c.Len()) })
	}
	for o, err := range all {
		if err == nil {
			err = take(c, o)
			r.opts.Tell("listed", int(r.listed.Add(1)), 0)
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	return nil
}

// take adds an object, unless nobody can say what it means.
func take(c *listing.Collector, o buildcache.Object) error {
	if buildcache.NewerLayout(o.Key) {
		return fmt.Errorf("%s: %w: of a layout that is not known here (2 and 3 are), which may use the same blobs: update this program", o.Key, buildcache.ErrFormat)
	}
	c.Add(o, buildcache.KindOf(o.Key))
	return nil
}

// readInventory takes what would have been listed, in pieces that it sorts. Of several
// rows for one key the youngest counts, as to merge many of them would take for ever.
func (r *scanner) readInventory(ctx context.Context, c *listing.Collector) error {
	var piece []buildcache.Object
	sort := func() error {
		slices.SortFunc(piece, func(a, b buildcache.Object) int {
			return cmp.Or(strings.Compare(a.Key, b.Key), b.ModTime.Compare(a.ModTime))
		})
		piece = slices.CompactFunc(piece, func(a, b buildcache.Object) bool { return a.Key == b.Key })
		for _, o := range piece {
			if err := take(c, o); err != nil {
				return err
			}
		}
		piece = piece[:0]
		return nil
	}
	ours := slices.Concat(prefixes...)
	for o, err := range r.opts.Inventory.List(ctx, "") {
		if err != nil {
			return err
		}
		for _, prefix := range ours {
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

// Some 20 000 specs have 40 pages of blobs, or of tarballs and spec files. With
// fewer, the last pages of 16 listings would be as many again; in v2 the first
// page, which is listed twice, and another last one are little less.
const (
	manyManifests = 20_000
	bigIndex      = manyManifests * 1900 // bytes, of v2
)

// shards guesses: blobs by the first digit of their checksums, if there are
// many manifests; the tarballs of v2 apart from its spec files, by the
// architecture in the name of one of these, unless the index is there and small.
func shards(first []buildcache.Object, manifests int) []string {
	for _, o := range first {
		switch buildcache.KindOf(o.Key) {
		case buildcache.Index:
			if o.Key == IndexV2 && o.Size < bigIndex {
				return nil
			}
		case Blob:
			if manifests < manyManifests {
				return nil
			}
			var all []string
			for _, digit := range "0123456789abcdef" {
				all = append(all, BlobsPrefix+string(digit))
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
