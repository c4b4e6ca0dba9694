package janitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
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
	err = j.leased(ctx, p.Run, func(ctx context.Context) error {
		if err := j.clock(ctx, p.Policy.Grace); err != nil {
			return err
		}
		r := &run{Janitor: j, plan: p, res: &res, removed: map[string]map[buildcache.Hash]*record{}}
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
// young looks old. The lease was written just now.
func (j Janitor) clock(ctx context.Context, grace time.Duration) error {
	_, o, err := get(ctx, j.Store, leaseKey)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if ahead := j.Now().Sub(o.ModTime); grace > 0 && ahead > grace/2 {
		return fmt.Errorf("%w: the clock here is %s ahead of the mirror's, which makes young objects look old: set it right", ErrRefused, ahead.Round(time.Minute))
	}
	return nil
}

// A run applies one plan.
type run struct {
	Janitor
	plan    Plan // what is left of it
	res     *Result
	journal *journal
	keeping *keeping                               // nil: the store keeps no versions
	removed map[string]map[buildcache.Hash]*record // from each index, as they were
	lost    []Going                                // gone, though what was pushed too late needs them
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

// look scans again, takes out of the plan what changed, and proves the rest.
func (r *run) look(ctx context.Context) (*Scan, error) {
	s, err := NewScan(ctx, r.Store, r.Scan)
	if err != nil {
		return nil, err
	}
	r.Scan.nodes = s.Nodes
	var notes []string
	r.plan, notes = restrict(r.plan, s)
	for _, n := range notes {
		r.Log("%s", n)
	}
	r.res.Stayed = append(r.res.Stayed, notes...)
	return s, Prove(r.plan, s)
}

// going returns the specs that go.
func (r *run) going() map[buildcache.Hash]bool {
	going := map[buildcache.Hash]bool{}
	for _, g := range r.plan.Going {
		going[g.Hash] = true
	}
	return going
}

// unindex takes the specs out of all indexes, and looks whether anybody has
// pushed something or written an index meanwhile, until nobody has.
func (r *run) unindex(ctx context.Context, s *Scan) (*Scan, error) {
	for round := 0; ; round++ {
		if err := r.swapAll(ctx, s); err != nil {
			return nil, err
		}
		before := r.going()
		next, err := r.look(ctx)
		if err != nil {
			return nil, err
		}
		going := r.going()
		back := maps.Clone(before)
		maps.DeleteFunc(back, func(h buildcache.Hash, _ bool) bool { return going[h] })
		if len(back) == 0 && !next.indexed(going) {
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

// indexed says whether an index has one of these specs as cached, or entries
// of which there is nothing.
func (s *Scan) indexed(hashes map[buildcache.Hash]bool) bool {
	for _, x := range s.indexes {
		if len(x.dangling) > 0 {
			return true
		}
		for h := range hashes {
			if r := x.entries.byHash[h]; r != nil && r.cached {
				return true
			}
		}
	}
	return false
}

func (r *run) swapAll(ctx context.Context, s *Scan) error {
	for _, x := range s.indexes {
		gone := r.going()
		maps.Copy(gone, x.dangling)
		if err := r.swap(ctx, x.object.Key, drop(gone)); err != nil {
			return err
		}
	}
	return nil
}

// swap changes an index, and writes down what it was before.
func (r *run) swap(ctx context.Context, key string, change func(*index) (*entries, error)) error {
	var last Replacement
	err := r.Janitor.swap(ctx, key, change, func(rep Replacement) error {
		last = rep
		if err := r.keepIndex(ctx, rep); err != nil {
			return err
		}
		return r.journal.write(ctx, Step{What: "replace index", Index: &rep})
	})
	if err != nil {
		return err
	}
	if last.Key != "" {
		r.Log("%s: %d entries fewer or changed", key, len(last.Records))
	}
	if r.removed[key] == nil {
		r.removed[key] = map[buildcache.Hash]*record{}
	}
	records, err := parseRecords(last.Records)
	for _, rec := range records {
		if r.removed[key][rec.hash] == nil || rec.cached {
			r.removed[key][rec.hash] = rec
		}
	}
	return err
}

// reindex puts the entries of specs back that stay after all, with those that
// they name: as not cached, where those went.
func (r *run) reindex(ctx context.Context, hashes map[buildcache.Hash]bool) error {
	for _, key := range slices.Sorted(maps.Keys(r.removed)) {
		var records []*record
		stays := false
		for _, h := range slices.Sorted(maps.Keys(r.removed[key])) {
			rec := r.removed[key][h]
			stays = stays || hashes[h]
			records = append(records, rec.patch(rec.refs, rec.cached && hashes[h]))
		}
		if !stays {
			continue
		}
		if err := r.swap(ctx, key, putBack(records)); err != nil {
			return err
		}
	}
	return nil
}

// deleteSpecs deletes spec files and manifests.
func (r *run) deleteSpecs(ctx context.Context) error {
	var keys []string
	for _, d := range r.plan.Delete {
		if d.Kind == SpecFile || d.Kind == Manifest {
			keys = append(keys, d.Key)
		}
	}
	failed, err := r.delete(ctx, "delete spec files and manifests", keys)
	stuck := map[buildcache.Hash]bool{}
	for key := range failed {
		if hash, ok := buildcache.KeyHash(key); ok {
			stuck[hash] = true
		}
	}
	r.res.Specs = len(r.plan.Going) - len(stuck)
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
	if r.lost = lost(before, r.plan, s); len(r.lost) > 0 && r.undoable() {
		if err := r.rescue(ctx, before); err != nil {
			return err
		}
	}
	used := s.usedBlobs(func(buildcache.Hash) bool { return false })
	var keys []string
	for _, d := range r.plan.Delete {
		if d.Kind == Own || d.Kind == Blob && !used[d.Key] || d.Kind == Tarball && !s.owned(s.Objects[d.Key]) {
			keys = append(keys, d.Key)
		}
	}
	_, err = r.delete(ctx, "delete tarballs and blobs", keys)
	return err
}

// rescue brings the spec files and manifests of lost specs back; what they
// refer to is still there.
func (r *run) rescue(ctx context.Context, before Plan) error {
	back := map[buildcache.Hash]bool{}
	for _, g := range r.lost {
		back[g.Hash] = true
	}
	for _, d := range before.Delete {
		if !back[d.Hash] || d.Kind != SpecFile && d.Kind != Manifest {
			continue
		}
		if err := r.bringBack(ctx, d.Key); err != nil {
			return fmt.Errorf("bring back %s: %w", d.Key, err)
		}
		r.res.Objects--
		r.res.Bytes -= d.Size
	}
	r.res.Specs -= len(r.lost)
	r.lost = nil
	return r.reindex(ctx, back)
}

// lost returns the specs that would stay now, but whose spec file or manifest
// is deleted already.
func lost(before, after Plan, s *Scan) []Going {
	going := map[buildcache.Hash]bool{}
	for _, g := range after.Going {
		going[g.Hash] = true
	}
	return slices.DeleteFunc(slices.Clone(before.Going), func(g Going) bool {
		return going[g.Hash] || s.Specs[g.Hash] != nil
	})
}

const (
	batch   = 1000 // keys in a request
	batches = 4    // at a time
	retries = 3
)

// delete deletes objects of the plan and returns those that were not, each
// tried a few times. Its error means that the run cannot go on.
func (r *run) delete(ctx context.Context, what string, keys []string) (map[string]string, error) {
	failed := map[string]string{}
	if len(keys) == 0 {
		return failed, nil
	}
	if err := r.journal.write(ctx, Step{What: what, Keys: keys}); err != nil {
		return nil, err
	}
	r.Log("%s: %d", what, len(keys))
	left := keys
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
		left = slices.Sorted(maps.Keys(failed))
	}
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		_, bad := failed[key]
		asked[key] = !bad
	}
	for _, d := range r.plan.Delete {
		if asked[d.Key] {
			r.res.Objects++
			r.res.Bytes += d.Size
		}
	}
	if len(failed) > 0 {
		if r.res.Failed == nil {
			r.res.Failed = map[string]string{}
		}
		maps.Copy(r.res.Failed, failed)
	}
	return failed, r.journal.write(ctx, Step{What: what + ": done", Failed: failed, Markers: r.keeping.marked(keys)})
}

func (r *run) deleteOnce(ctx context.Context, keys []string, failed map[string]string) error {
	chunks := slices.Collect(slices.Chunk(keys, batch))
	errs := make([]error, len(chunks))
	var group errgroup.Group
	group.SetLimit(batches)
	for i, chunk := range chunks {
		group.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = r.remove(ctx, chunk)
			}
			return nil
		})
	}
	_ = group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for i, err := range errs {
		var per *buildcache.DeleteError
		if errors.As(err, &per) {
			for _, f := range per.Failed {
				failed[f.Key] = f.Err.Error()
			}
		} else if err != nil {
			for _, key := range chunks[i] {
				failed[key] = err.Error()
			}
		}
	}
	return nil
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
	s, err := NewScan(ctx, r.Store, r.Scan)
	if err != nil {
		return err
	}
	if s.indexed(r.going()) { // somebody wrote an index from what was there before
		if err := r.swapAll(ctx, s); err != nil {
			return err
		}
	}
	going := r.going()
	for _, g := range r.lost {
		going[g.Hash] = true
	}
	for _, hash := range before.hashes() {
		if !going[hash] && s.Specs[hash] == nil {
			return fmt.Errorf("%w: %s has vanished while we were at work", ErrUnproved, before.Specs[hash])
		}
	}
	var stay []buildcache.Hash
	for _, hash := range s.hashes() {
		old, now := before.Specs[hash], s.Specs[hash]
		if going[hash] {
			continue
		}
		stay = append(stay, hash)
		if len(now.Missing) > 0 && (old == nil || len(old.Missing) == 0) {
			return fmt.Errorf("%w: %s lacks %s: it was pushed while we were at work: %s", ErrUnproved, now, now.Missing[0], r.remedy())
		}
	}
	if err := s.stays(stay, buildcache.Runtime, going); err != nil {
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
