package janitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// A Janitor changes a mirror. Only Store must be given.
type Janitor struct {
	Store   Store
	Scan    ScanOptions
	Owner   string        // for people who find the lease taken
	KeepFor time.Duration // what goes can be brought back for so long; 0 is as long as the store keeps it by itself
	Settle  time.Duration // how long a rival may take between looking and writing, where the store cannot refuse a write; 0 is 3 s
	Now     func() time.Time
	Log     func(format string, args ...any)

	// HandOver takes what shall be deleted by somebody else, step by step: no
	// step may begin before the one before it is done. Nothing is deleted
	// then; the indexes are changed all the same, which must come first.
	HandOver func(step int, keys []string) error

	ahead time.Duration // how far our clock is ahead of the store's
}

// A Result is what a run did.
type Result struct {
	Run     string            `json:"run"`
	Specs   int               `json:"specs"`
	Objects int               `json:"objects"`
	Bytes   int64             `json:"bytes"`
	Kept    string            `json:"kept,omitempty"`   // how, if the run can be taken back
	Stayed  []string          `json:"stayed,omitempty"` // sentences: planned to go, but somebody was faster
	Failed  map[string]string `json:"failed,omitempty"` // objects that were not deleted, and why
}

// Apply does what a plan says, as far as it is still right.
//
// The order survives being killed anywhere: first the indexes, then spec files
// and manifests, then what only they referred to. No index ever names what is
// not there, and what is left over is found by the next run.
func (j Janitor) Apply(ctx context.Context, p Plan) (res Result, err error) {
	if p.Refused != "" {
		return res, fmt.Errorf("plan %s: %w: %s", p.Run, ErrRefused, strings.TrimPrefix(p.Refused, ErrRefused.Error()+": "))
	}
	if p.Empty() {
		return res, nil
	}
	j.Scan.Known = p.scan.known // specs have the same numbers in both
	err = j.leased(ctx, p.Run, func(ctx context.Context) error {
		if err := j.clock(p.Policy.Grace); err != nil {
			return err
		}
		p.objects = slices.Clone(p.objects)
		r := &run{Janitor: j, plan: p, res: &res, was: map[string]*text{}, now: map[string]*cacheIndex{}, deleted: index.NewBits(p.scan.objects.len())}
		defer r.close()
		return r.apply(ctx)
	})
	return res, err
}

// leased calls f while we hold the lease.
func (j *Janitor) leased(ctx context.Context, what string, f func(context.Context) error) (err error) {
	if j.Now == nil {
		j.Now = time.Now
	}
	if j.Scan.Known == nil {
		j.Scan.Known = OpenKnown("")
	}
	if j.Settle == 0 {
		j.Settle = 3 * time.Second
	}
	if j.Log == nil {
		j.Log = func(string, ...any) {}
	}
	held, l, err := j.take(ctx, what)
	if err != nil {
		return err
	}
	defer func() {
		if cause := context.Cause(held); err != nil && cause != nil && ctx.Err() == nil {
			err = cause
		}
		err = errors.Join(err, l.release(ctx))
	}()
	return f(held)
}

// clock makes sure that ours is not so far ahead of the store's that what is
// young looks old.
func (j *Janitor) clock(grace time.Duration) error {
	if grace > 0 && j.ahead > grace/2 {
		return fmt.Errorf("%w: the clock here is %s ahead of the mirror's, which makes young objects look old: set it right", ErrRefused, j.ahead.Round(time.Minute))
	}
	return nil
}

// A run applies one plan.
type run struct {
	Janitor
	plan    Plan // what is left of it
	res     *Result
	journal *journal
	deleted index.Bits             // objects, by the plan's scan
	was     map[string]*text       // indexes as they were before, by key
	now     map[string]*cacheIndex // as they are
	others  bool                   // somebody else has written an index since the last scan
	handed  int                    // steps that somebody else does
	keeping *keeping               // nil: the store keeps no versions
	lost    []id                   // gone, though what was pushed too late needs them
}

func (r *run) close() {
	for _, t := range r.was {
		t.Close()
	}
}

func (r *run) apply(ctx context.Context) error {
	s, err := r.look(ctx)
	if err != nil {
		return err
	}
	if r.plan.Empty() {
		return nil
	}
	if r.journal, err = begin(ctx, r.Store, r.plan, r.Owner, r.KeepFor, r.Now); err != nil {
		return err
	}
	r.res.Run = r.journal.run
	if err := r.keep(ctx); err != nil {
		return err
	}
	if s, err = r.unindex(ctx, s); err != nil {
		return err
	}
	if err := r.deleteSpecs(ctx); err != nil {
		return err
	}
	if err := r.deleteRest(ctx); err != nil {
		return err
	}
	if err := r.after(ctx, s); err != nil {
		return err
	}
	if err := r.journal.write(ctx, Step{What: "done", Failed: r.res.Failed}); err != nil {
		return err
	}
	if n := len(r.res.Failed); n > 0 {
		key := slices.Min(slices.Collect(maps.Keys(r.res.Failed)))
		return fmt.Errorf("%w: %d, first %s: %s", ErrUndeleted, n, key, r.res.Failed[key])
	}
	return nil
}

// patience is how many times as old as the time that it took a listing may
// get before it is made again. Until then a new one would be about as far
// behind the cache as the one there is: whoever pushes while we work is not
// seen any sooner, and a big cache is listed once instead of four times.
const patience = 4

// quick is how long a listing may take to be made again whenever it helps.
const quick = 200 * time.Millisecond

// look scans again, takes out of the plan what changed, and proves the rest.
// As long as a scan is fresh, and nobody else writes indexes, it is taken as
// it is, less what we have done.
func (r *run) look(ctx context.Context) (*Scan, error) {
	if s, err := r.fresh(ctx); s != nil || err != nil {
		return s, err
	}
	s, err := r.scanAgain(ctx)
	if err != nil {
		return nil, err
	}
	var notes []string
	r.plan, notes = restrict(r.plan.decisions(), s)
	r.deleted = index.NewBits(s.objects.len())
	clear(r.now)
	r.others = false
	for _, n := range notes {
		r.Log("%s", n)
	}
	r.res.Stayed = append(r.res.Stayed, notes...)
	return s, Prove(r.plan, s)
}

// scanAgain scans. What the run has deleted is not missed.
func (r *run) scanAgain(ctx context.Context) (*Scan, error) {
	old := r.plan.scan
	old.known.last = old.without(slices.Clone(r.deleted), old.indexes)
	return NewScan(ctx, r.Store, r.Scan)
}

// fresh returns the scan of the plan less what was deleted, or nil if it is
// too old, or an index is not as it was. As long as nothing is done the latter
// need not be asked: what comes next is to change the indexes, which tells.
func (r *run) fresh(ctx context.Context) (*Scan, error) {
	old := r.plan.scan
	if r.others || r.HandOver == nil && (old.took < quick || !old.asOf.IsZero() || time.Since(old.began) > patience*old.took) {
		return nil, nil
	}
	indexes := slices.Clone(old.indexes)
	for i, x := range indexes {
		if n := r.now[x.object.Key]; n != nil {
			indexes[i] = n
		}
		if r.journal == nil {
			continue
		}
		if etag, err := etagOf(ctx, r.Store, x.object.Key); err != nil || etag != indexes[i].object.ETag {
			return nil, err
		}
	}
	for i := range r.deleted.All() {
		r.plan.objects.Clear(i)
	}
	s := old.without(slices.Clone(r.deleted), indexes)
	r.plan.scan, s.known.last = s, s
	return s, Prove(r.plan, s)
}

// unindex takes the specs out of all indexes, and looks whether anybody has
// pushed something or written an index meanwhile, until nobody has.
func (r *run) unindex(ctx context.Context, s *Scan) (*Scan, error) {
	for round := 0; ; round++ {
		if err := r.swapAll(ctx, s); err != nil {
			return nil, err
		}
		before := slices.Collect(r.plan.going())
		next, err := r.look(ctx)
		if err != nil {
			return nil, err
		}
		back := map[buildcache.Hash]bool{}
		for _, at := range before {
			if !r.plan.goes(at) {
				back[next.dag.hash(at)] = true
			}
		}
		if len(back) == 0 && !r.named(next) {
			return next, nil
		}
		if err := r.reindex(ctx, back); err != nil {
			return nil, err
		}
		if round == tries {
			return nil, errors.New("somebody keeps writing to the cache: nothing was deleted, run again when it is quiet")
		}
		s = next
	}
}

// named says whether an index has specs that go as cached, or entries of which
// there is nothing.
func (r *run) named(s *Scan) bool {
	for _, x := range s.indexes {
		if x.dangling.Count() > 0 {
			return true
		}
		for at := range r.plan.going() {
			if x.cached.Has(at) {
				return true
			}
		}
	}
	return false
}

func (r *run) swapAll(ctx context.Context, s *Scan) error {
	for _, old := range s.indexes {
		goes := func(x *cacheIndex, at id) bool { return r.plan.goes(at) || old.dangling.Has(at) }
		if err := r.swap(ctx, old.object.Key, r.drop(goes)); err != nil {
			return err
		}
	}
	return nil
}

// swap changes an index, and keeps what it was before. One that is not as we
// have read or left it was written by somebody else, who may have pushed.
func (r *run) swap(ctx context.Context, key string, change change) error {
	watch := func(ctx context.Context, x *cacheIndex) (was, now *text, err error) {
		if had := r.index(key); had == nil || had.sum != x.sum {
			r.others = true
		}
		return change(ctx, x)
	}
	first := r.was[key] == nil
	x, err := r.Janitor.swap(ctx, key, r.index(key), watch, func(rep Replacement, was *text) error {
		if first { // again if somebody else was faster
			if old := r.was[key]; old != nil {
				old.Close()
			}
			r.was[key], was.kept = was, true
		}
		if err := r.keepIndex(ctx, rep, was); err != nil {
			return err
		}
		r.Log("%s: %d entries become others", key, len(was.graph.Entries()))
		return r.journal.write(ctx, Step{What: "replace index", Index: &rep})
	})
	if err == nil {
		r.now[key] = x
	}
	return err
}

// index returns an index as we have read or left it; nil if we have not.
func (r *run) index(key string) *cacheIndex {
	if x := r.now[key]; x != nil {
		return x
	}
	for _, x := range r.plan.scan.indexes {
		if x.object.Key == key {
			return x
		}
	}
	return nil
}

// reindex puts the entries of specs back that stay after all, with those that
// they name: as not cached, where those went.
func (r *run) reindex(ctx context.Context, back map[buildcache.Hash]bool) error {
	for _, key := range slices.Sorted(maps.Keys(r.was)) {
		if err := r.swap(ctx, key, r.putBack(r.was[key], func(h buildcache.Hash) bool { return back[h] })); err != nil {
			return err
		}
	}
	return nil
}

// deleteSpecs deletes spec files and manifests.
func (r *run) deleteSpecs(ctx context.Context) error {
	s := r.plan.scan
	var files []objectID
	for i := range r.plan.objects.All() {
		if k := s.objects.at(i).kind; k == SpecFile || k == Manifest {
			files = append(files, i)
		}
	}
	failed, err := r.delete(ctx, "delete spec files and manifests", files)
	stuck := map[buildcache.Hash]bool{}
	for key := range failed {
		if hash, ok := buildcache.KeyHash(key); ok {
			stuck[hash] = true
		}
	}
	r.res.Specs = -len(stuck)
	for range r.plan.going() {
		r.res.Specs++
	}
	return err
}

// deleteRest deletes tarballs, blobs and our own notes, as far as nothing
// refers to them: neither what has come since, nor what could not be deleted.
func (r *run) deleteRest(ctx context.Context) error {
	before := r.plan
	s, err := r.look(ctx)
	if err != nil {
		return err
	}
	r.lost = lost(&before, &r.plan, s)
	if len(r.lost) > 0 && r.undoable() {
		if err := r.rescue(ctx, &before); err != nil {
			return err
		}
	}
	used := s.allUsedBlobs()
	var rest []objectID
	for i := range r.plan.objects.All() {
		o := s.objects.at(i)
		if o.kind == Own || o.kind == Blob && (o.of == 0 || !used.Has(o.of-1)) || o.kind == Tarball && !s.owned(i) {
			rest = append(rest, i)
		}
	}
	_, err = r.delete(ctx, "delete tarballs and blobs", rest)
	return err
}

// rescue brings the spec files and manifests of lost specs back; what they
// refer to is still there.
func (r *run) rescue(ctx context.Context, before *Plan) error {
	back := map[buildcache.Hash]bool{}
	for _, at := range r.lost {
		back[before.scan.dag.hash(at)] = true
		for _, i := range before.scan.bySpec.of(at) {
			o := before.scan.objects.at(i)
			if o.kind != SpecFile && o.kind != Manifest || !before.objects.Has(i) {
				continue
			}
			key := before.scan.objects.key(i)
			if err := r.bringBack(ctx, key); err != nil {
				return fmt.Errorf("bring back %s: %w", key, err)
			}
			r.res.Objects--
			r.res.Bytes -= o.size
		}
	}
	r.res.Specs -= len(r.lost)
	r.lost = nil
	return r.reindex(ctx, back)
}

// lost returns the specs that would stay now, but whose spec file or manifest
// is deleted already.
func lost(before, after *Plan, s *Scan) (all []id) {
	for at := range before.going() {
		if !after.goes(at) && !s.present.Has(at) {
			all = append(all, at)
		}
	}
	return all
}

const (
	batch   = 1000 // keys in a request
	batches = 4    // at a time
	retries = 3
)

// delete deletes objects of the plan and returns those that were not, each
// tried a few times. Its error means that the run cannot go on.
func (r *run) delete(ctx context.Context, what string, objects []objectID) (map[string]string, error) {
	failed := map[string]string{}
	if len(objects) == 0 {
		return failed, nil
	}
	s := r.plan.scan
	if err := r.journal.writeKeys(ctx, what, s.keys(objects)); err != nil {
		return nil, err
	}
	r.Log("%s: %d", what, len(objects))
	if r.HandOver != nil {
		r.handed++
		for _, o := range objects {
			r.deleted.Set(o)
		}
		return failed, r.HandOver(r.handed, slices.Collect(s.keys(objects)))
	}
	left := objects
	for try := 1; len(left) > 0 && try <= retries; try++ {
		if try > 1 {
			if err := pause(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
				return nil, err
			}
		}
		clear(failed)
		if err := r.deleteOnce(ctx, left, failed); err != nil {
			return nil, err
		}
		left = r.failed(left, failed)
	}
	for _, o := range objects {
		r.deleted.Set(o)
		r.res.Objects++
		r.res.Bytes += s.objects.at(o).size
	}
	for _, o := range left {
		r.deleted.Clear(o)
		r.res.Objects--
		r.res.Bytes -= s.objects.at(o).size
	}
	markers := r.keeping.marked(s.keys(objects))
	if len(failed) == 0 && len(markers) == 0 {
		return failed, nil // what the journal says next tells that this is done
	}
	if len(failed) > 0 {
		if r.res.Failed == nil {
			r.res.Failed = map[string]string{}
		}
		maps.Copy(r.res.Failed, failed)
	}
	return failed, r.journal.write(ctx, Step{What: what + ": done", Failed: failed, Markers: markers})
}

// failed returns those objects that were not deleted.
func (r *run) failed(objects []objectID, failed map[string]string) (left []objectID) {
	for _, o := range objects {
		if len(failed) == 0 {
			return nil
		}
		if _, bad := failed[r.plan.scan.objects.key(o)]; bad {
			left = append(left, o)
		}
	}
	return left
}

// deleteOnce tries to delete objects, batch by batch, and notes what failed.
func (r *run) deleteOnce(ctx context.Context, objects []objectID, failed map[string]string) error {
	return r.deleteBatches(ctx, len(objects), failed, func(from, to int) []string {
		return slices.Collect(r.plan.scan.keys(objects[from:to]))
	})
}

// deleteBatches deletes n keys, which are made when they are needed.
func (r *run) deleteBatches(ctx context.Context, n int, failed map[string]string, keys func(from, to int) []string) error {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(batches)
	for from := 0; from < n; from += batch {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			chunk := keys(from, min(n, from+batch))
			err := r.remove(ctx, chunk)
			mu.Lock()
			defer mu.Unlock()
			var per *buildcache.DeleteError
			if errors.As(err, &per) {
				for _, f := range per.Failed {
					failed[f.Key] = f.Err.Error()
				}
			} else if err != nil {
				for _, key := range chunk {
					failed[key] = err.Error()
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	return context.Cause(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// after checks what is left: whatever was whole and stays is whole still.
func (r *run) after(ctx context.Context, before *Scan) error {
	plan := r.plan
	s, err := r.fresh(ctx)
	if s == nil && err == nil {
		s, err = r.scanAgain(ctx)
	}
	if err != nil {
		return err
	}
	r.plan = plan   // a spec that came back is told of below, and no reason to change it
	if r.named(s) { // somebody wrote an index from what was there before
		if err := r.swapAll(ctx, s); err != nil {
			return err
		}
	}
	gone := index.NewBits(s.dag.len())
	for at := range r.plan.going() {
		gone.Set(at)
	}
	for _, at := range r.lost {
		gone.Set(at)
	}
	for at := range before.specs() {
		if !gone.Has(at) && !s.present.Has(at) {
			return fmt.Errorf("%w: %s has vanished while we were at work", ErrUnproved, before.dag.text(at))
		}
	}
	var stay []id
	for at := range s.specs() {
		if gone.Has(at) {
			continue
		}
		stay = append(stay, at)
		if missing := s.missing[at]; len(missing) > 0 && len(before.missing[at]) == 0 {
			return fmt.Errorf("%w: %s lacks %s: it was pushed while we were at work: %s", ErrUnproved, s.dag.text(at), missing[0], r.remedy())
		}
	}
	if err := s.stays(stay, buildcache.Runtime, gone.Has); err != nil {
		return fmt.Errorf("%w: it was pushed while we were at work: %s", err, r.remedy())
	}
	return nil
}

func (r *run) remedy() string {
	if r.undoable() {
		return "take the run back with janitor:undo " + r.res.Run
	}
	return "push what it needs again"
}
