package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// unindex takes what goes out of all indexes, waits until clients have
// forgotten theirs, and looks whether anything was pushed or an index written
// meanwhile, until nothing was.
func (r *run) unindex(ctx context.Context) error {
	for round := 0; ; round++ {
		if err := r.current(ctx); err != nil {
			return err
		}
		wrote, err := r.swapAll(ctx)
		if err != nil {
			return err
		}
		if left := r.unsettled(wrote); left > 0 && r.going.Count() > 0 {
			r.Log("waiting %s until no client uses the index of before", left.Round(time.Second))
			if err := r.lease.Pause(ctx, left); err != nil {
				return err
			}
		}
		if err := r.again(ctx, true); err != nil {
			return err
		}
		if err := r.restored(ctx); err != nil {
			return err
		}
		if !r.named() {
			return nil
		}
		if round == tries {
			return errors.New("another process keeps writing the index: no spec was deleted, run again when it is quiet")
		}
	}
}

// unsettled returns how long clients may still use an index of before. Where this run has not
// changed any, one that was interrupted may have done so a moment ago.
func (r *run) unsettled(wrote bool) time.Duration {
	if wrote {
		return r.Settle
	}
	return min(r.Settle, r.Settle-r.moment().StoreTime().Sub(r.written))
}

// named reports whether an index has specs that go as cached.
func (r *run) named() bool {
	for _, x := range r.look.scan.Indexes {
		for at := range x.Cached.All() {
			if r.going.Has(at) || r.deleted.Has(at) && x.Dangling.Has(at) {
				return true
			}
		}
	}
	return false
}

// swapAll takes what goes, and entries of which there is nothing, out of the
// indexes.
func (r *run) swapAll(ctx context.Context) (wrote bool, err error) {
	var keys []string
	for _, x := range r.look.scan.Indexes {
		if !slices.Contains(keys, x.Object.Key) {
			keys = append(keys, x.Object.Key)
		}
	}
	wrong := r.wrongEntries()
	drop := r.drop(func(x *scan.Index, at dag.ID) bool { return r.going.Has(at) || wrong(x, at) })
	for _, key := range keys {
		w, err := r.swap(ctx, r.lease, key, func(ctx context.Context, x *scan.Index) (*text, error) {
			if at := x.Object.ModTime; at.After(r.written) {
				r.written = at
			}
			return drop(ctx, x)
		})
		wrote = wrote || w
		if err != nil {
			return wrote, err
		}
	}
	return wrote, nil
}

// wrongEntries tells the entries of which the last look has found nothing, and
// which may be taken out: those of what this run has deleted, and all where the
// plan mends indexes.
func (r *run) wrongEntries() func(*scan.Index, dag.ID) bool {
	mend := r.plan != nil && len(r.plan.Mend) > 0
	dangling := map[string]index.Bits{}
	for _, x := range r.look.scan.Indexes {
		dangling[x.Sum] = x.Dangling
	}
	return func(x *scan.Index, at dag.ID) bool {
		return dangling[x.Sum].Has(at) && (mend || r.deleted.Has(at))
	}
}

// entriesBack returns the specs, by index, whose entries the room says were
// taken out, and that are present and do not go: a run was killed, they are
// needed after all, or they were pushed again under their old index. A purge
// leaves what is none of its business: others may be about to delete it.
func (r *run) entriesBack() map[string]map[dag.ID]bool {
	s := r.look.scan
	back := map[string]map[dag.ID]bool{}
	add := func(at dag.ID, taken uint16) {
		if !s.Present.Has(at) || r.going.Has(at) {
			return
		}
		for _, key := range r.next.TakenFrom(taken) {
			for _, x := range s.Indexes {
				if x.Object.Key == key && !s.CachedBy(key, at) {
					if back[key] == nil {
						back[key] = map[dag.ID]bool{}
					}
					back[key][at] = true
				}
			}
		}
	}
	for at, e := range r.next.Specs {
		if e.Taken != 0 && !r.plan.leaves(dag.ID(at)) {
			add(dag.ID(at), e.Taken)
		}
	}
	for _, t := range r.next.Tombs {
		if at, ok := s.DAG.Lookup(t.Hash); ok && t.Taken != 0 {
			add(at, t.Taken)
		}
	}
	return back
}

// restore puts entries back that were taken out.
func (r *run) restore(ctx context.Context) (wrote bool, err error) {
	back := r.entriesBack()
	for _, key := range slices.Sorted(maps.Keys(back)) {
		w, err := r.putBackInto(ctx, key, back[key])
		wrote = wrote || w
		if err != nil {
			return wrote, err
		}
	}
	return wrote, nil
}

// restored restores, and looks again if that has written anything. It looks
// before, too, if all that it has is the look of the plan: what an inventory
// has, or a listing of before the lease, may be gone by now.
func (r *run) restored(ctx context.Context) error {
	if r.look == r.plan.look && len(r.entriesBack()) > 0 {
		if err := r.again(ctx, false); err != nil { // at tarballs, too: what is back may not be whole yet
			return err
		}
	}
	for range tries {
		wrote, err := r.restore(ctx)
		if err != nil || !wrote {
			return err
		}
		if err := r.again(ctx, r.look.partial); err != nil {
			return err
		}
	}
	return errors.New("another process keeps writing the index: run again when it is quiet")
}

// putBackInto writes entries for specs into an index, as their spec files have
// them.
func (r *run) putBackInto(ctx context.Context, key string, specs map[dag.ID]bool) (wrote bool, err error) {
	s := r.look.scan
	layout := 2
	if key != scan.IndexV2 {
		layout = 3
	}
	var files []listing.ID
	hashes := map[buildcache.Hash]bool{}
	for _, at := range slices.Sorted(maps.Keys(specs)) {
		if file, ok := s.SpecFile(at, layout); ok && s.Whole(at, layout) {
			files = append(files, file)
			hashes[s.DAG.Hash(at)] = true
		}
	}
	if len(files) == 0 {
		return false, nil
	}
	sc := &specReader{s, r.Store, r.Scan}
	sc.opts.Parallel = max(sc.opts.Parallel, 16)
	texts := map[string]*text{} // by version of the database
	defer func() {
		for _, t := range texts {
			t.Close()
		}
	}()
	r.Log("%s: %d entries come back", key, len(files))
	wrong := r.wrongEntries()
	return r.swap(ctx, r.lease, key, func(ctx context.Context, x *scan.Index) (*text, error) {
		version := x.Graph.Version()
		if texts[version] == nil {
			t, err := sc.textOf(ctx, version, files)
			if err != nil {
				return nil, err
			}
			texts[version] = t
		}
		was, err := fetch(ctx, r.Store, x)
		if err != nil {
			return nil, err
		}
		defer was.Close()
		return was.withBack(texts[version], func(h buildcache.Hash, had bool) bool {
			at, ok := s.DAG.Lookup(h)
			return hashes[h] || had && !(ok && wrong(x, at))
		})
	})
}

// tries is how often a lost race for an index is run again.
const tries = 8

// A change makes the text that shall take an index's place, from the one that
// it had until now; nil is that there is nothing to change.
type change func(ctx context.Context, x *scan.Index) (*text, error)

// swap puts changed indexes in place of those that an object holds or names
// now. If another process was faster, it reads theirs and changes that. It
// reports whether anything was written.
func (j *Janitor) swap(ctx context.Context, l *lease.Lease, key string, change change) (wrote bool, err error) {
	for try := 0; ; try++ {
		group, err := scan.ReadIndex(ctx, j.Store, j.Scan, key)
		if err != nil {
			return false, fmt.Errorf("index: %w", err)
		}
		if err := l.Hold(ctx); err != nil {
			return false, err
		}
		w, err := j.swapOnce(ctx, l, group, change)
		wrote = wrote || w // what was refused may be what we had written: its reply was lost, and it was sent again
		if !errors.Is(err, buildcache.ErrChanged) && !errors.Is(err, errMoved) || try == tries {
			return wrote, err
		}
	}
}

func (j *Janitor) swapOnce(ctx context.Context, l *lease.Lease, group []*scan.Index, change change) (wrote bool, err error) {
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
		if t := texts[i]; t != nil && t.sum == x.Sum {
			t.Close()
			texts[i] = nil
		}
	}
	first := group[0]
	switch {
	case !slices.ContainsFunc(texts, func(t *text) bool { return t != nil }):
		if first.Layout == 2 && first.Stale {
			return true, putHash(ctx, j.Store, first.Sum)
		}
		return false, nil
	case first.Layout == 2:
		if err := l.Hold(ctx); err != nil { // making the text takes its time
			return false, err
		}
		ctx, cancel := l.Bound(ctx)
		defer cancel()
		return true, putV2(ctx, j.Store, texts[0], buildcache.Condition{IfMatch: first.Object.ETag})
	}
	return true, putV3(ctx, j.Store, l, group, texts)
}

// putV2 writes the index, then its checksum: clients that find the old one
// keep what they have, and the next run mends it.
func putV2(ctx context.Context, store Store, t *text, cond buildcache.Condition) error {
	opts := buildcache.PutOptions{ContentType: "application/json", CacheControl: "no-cache", Condition: cond}
	if _, err := store.Put(ctx, scan.IndexV2, t, t.graph.Size(), opts); err != nil {
		return fmt.Errorf("write %s: %w", scan.IndexV2, err)
	}
	return putHash(ctx, store, t.sum)
}

func putHash(ctx context.Context, store Store, sum string) error {
	opts := buildcache.PutOptions{ContentType: "text/plain", CacheControl: "no-cache"}
	if _, err := store.Put(ctx, scan.IndexHashV2, strings.NewReader(sum), int64(len(sum)), opts); err != nil {
		return fmt.Errorf("write %s: %w", scan.IndexHashV2, err)
	}
	return nil
}

// putV3 writes the blobs, then the manifest that names them. Those that it
// named stay for readers who have read the manifest already: they become lone
// blobs, and wait like any other.
func putV3(ctx context.Context, store Store, l *lease.Lease, group []*scan.Index, texts []*text) error {
	names := slices.Clone(group[0].Names)
	for i, t := range texts {
		if t == nil {
			continue
		}
		n := group[i].Blob
		n.Size, n.Checksum = t.graph.Size(), t.sum
		if err := putBlob(ctx, store, n, t); err != nil {
			return err
		}
		names[slices.Index(names, group[i].Blob)] = n
	}
	if err := l.Hold(ctx); err != nil { // as does uploading it
		return err
	}
	ctx, cancel := l.Bound(ctx)
	defer cancel()
	return putManifest(ctx, store, group[0].Object.Key, names, buildcache.Condition{IfMatch: group[0].Object.ETag})
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
func (j *Janitor) drop(goes func(*scan.Index, dag.ID) bool) change {
	return func(ctx context.Context, x *scan.Index) (*text, error) {
		keep := index.NewBits(x.Graph.Len())
		for _, i := range x.Graph.Entries() {
			if x.Graph.InCache(i) && !goes(x, x.ID(i)) {
				keep.Set(i)
			}
		}
		if keep.Count() == x.Cached.Count() {
			return nil, nil
		}
		was, err := fetch(ctx, j.Store, x)
		if err != nil {
			return nil, err
		}
		defer was.Close()
		return was.rewrite(keep)
	}
}
