package janitor

import (
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
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A Result is what a run did.
type Result struct {
	Run       string            `json:"run"`
	Condemned int               `json:"condemned"` // specs that entered the room
	Back      int               `json:"back"`      // specs that left it, as they are needed or were written again
	Specs     int               `json:"specs"`     // that were deleted
	Objects   int               `json:"objects"`
	Bytes     int64             `json:"bytes"`
	Stayed    []string          `json:"stayed,omitempty"` // sentences: due, but another process was faster
	Failed    map[string]string `json:"failed,omitempty"` // objects that were not deleted, and why
}

// Prune plans and applies the plan.
func (j Janitor) Prune(ctx context.Context) (Result, error) {
	p, err := j.Plan(ctx)
	if err != nil {
		return Result{}, err
	}
	return j.Apply(ctx, p)
}

// Apply does what a plan says, as far as it is still right: it looks again
// itself, and does nothing that the plan does not name.
//
// The order survives being killed anywhere: the room says what is about to be
// deleted, then the index entries go, then spec files and manifests, dependents
// first, then what only they referred to.
func (j Janitor) Apply(ctx context.Context, p *Plan) (res Result, err error) {
	if p.Refused != "" {
		return res, fmt.Errorf("plan %s: %w: %s", p.Run, ErrRefused, strings.TrimPrefix(p.Refused, ErrRefused.Error()+": "))
	}
	j = j.ready()
	j.Scan.Known = p.look.scan.Known // specs have the same numbers in both
	j.prices = p.prices
	err = j.leased(ctx, p.Run, func(ctx context.Context, l *lease.Lease) error {
		r := &run{Janitor: j, lease: l, res: &res}
		r.Scan.Deleted = r.hasDeleted
		return r.apply(ctx, p)
	})
	return res, err
}

// A run applies one plan.
type run struct {
	Janitor
	lease *lease.Lease
	res   *Result
	plan  *Plan      // of the first look of this run
	next  *room.Room // as it is in the mirror
	look  *look      // the newest

	going   index.Bits        // specs that are still to be deleted
	needed  index.Bits        // what was live in any look
	deleted index.Bits        // specs of which all spec files and manifests are deleted
	objects index.Bits        // objects of plan.look that were deleted
	late    map[dag.ID]string // deleted before it was seen that a push needs it, and what needs it
	written time.Time         // when the newest of the indexes that were read to be changed was written, by the store's clock
	handed  int               // steps that another process does
}

func (r *run) apply(ctx context.Context, p *Plan) error {
	err := r.begin(ctx, p, p.look)
	if errors.Is(err, buildcache.ErrChanged) { // another run was at work between the plan's look and our lease
		err = r.begin(ctx, p, nil)
	}
	if err != nil {
		return err
	}
	r.res.Run, r.Scan.Inventory = r.plan.Run, nil
	if err := r.removeEnded(ctx); err != nil {
		return err
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	var errs []error
	if n := len(r.res.Failed); n > 0 {
		key := slices.Min(slices.Collect(maps.Keys(r.res.Failed)))
		errs = append(errs, fmt.Errorf("%w: %d, first %s: %s", ErrUndeleted, n, key, r.res.Failed[key]))
	}
	if r.plan.Brake != "" {
		errs = append(errs, fmt.Errorf("%w: %s", ErrRefused, r.plan.Brake))
	}
	if p.stop == "" && r.plan.stop != "" && r.plan.Room.Objects > 0 { // the plan that was shown did not say so
		errs = append(errs, fmt.Errorf("%w: %s", ErrRefused, r.plan.stop))
	}
	return errors.Join(errs...)
}

// begin decides anew under the lease, and by both clocks, and condemns. The look
// and the room of the plan are taken if the look is fresh: nothing was written
// since, and the room is not written over one that is not the plan's. By an
// inventory no root set is written in which pins are looked up: others delete by
// it, and what came since would be missing.
func (r *run) begin(ctx context.Context, p *Plan, l *look) (err error) {
	roots, seen := p.look.roots, p.look.scan
	if p.purge == nil && r.Repository != "" && len(roots.Locks) > 0 && (seen.AsOf.IsZero() || len(roots.Pins) == 0) {
		if err := r.lease.Hold(ctx); err != nil {
			return err
		}
		if _, err := r.publish(ctx, roots, seen); err != nil {
			return err
		}
	}
	from, age := p.room, time.Duration(-1)
	if l != nil {
		age = r.Now().Sub(l.ended)
	}
	if age > lookFor/5 || age < 0 {
		if l, err = r.Janitor.look(ctx, false); err != nil {
			return err
		}
		if from, err = room.Read(ctx, r.Store, r.Mirror, l.scan); err != nil {
			return err
		}
	}
	r.look = l
	if r.plan, err = r.decide(l, from, p.purge, p.allowed()); err != nil {
		return err
	}
	r.plan.Run = p.Run
	n := l.scan.DAG.Len()
	r.going = slices.Clone(r.plan.due)
	r.needed, r.deleted = index.NewBits(n), index.NewBits(n)
	r.objects = index.NewBits(l.scan.Objects.Len())
	return r.condemn(ctx)
}

// condemn writes the room: what enters it, what comes back, and what is about
// to be deleted from which indexes.
func (r *run) condemn(ctx context.Context) error {
	p := r.plan
	r.next, r.res.Condemned, r.res.Back = p.nextRoom(r.moment(), r.Mirror)
	return r.writeRoom(ctx)
}

func (r *run) writeRoom(ctx context.Context) error {
	if err := r.lease.Hold(ctx); err != nil {
		return err
	}
	return r.next.Write(ctx, r.Store, r.look.scan)
}

// work changes what is not our own: it deletes what is due, and mends indexes.
func (r *run) work(ctx context.Context) error {
	if r.plan.Policy.Wait == 0 && r.plan.purge == nil && r.plan.objects.Count() > 0 {
		if err := r.second(ctx); err != nil {
			return err
		}
	}
	if !r.plan.first() {
		if err := r.restored(ctx); err != nil {
			return err
		}
	}
	if err := r.deleteLone(ctx); err != nil {
		return err
	}
	if r.going.Count() == 0 && len(r.plan.Mend) == 0 {
		return nil
	}
	if err := r.unindex(ctx); err != nil {
		return err
	}
	if r.going.Count() == 0 {
		return nil
	}
	if r.HandOver != nil {
		return r.handOver(ctx)
	}
	if err := r.deleteSpecs(ctx); err != nil {
		return err
	}
	if err := r.deleteRest(ctx); err != nil {
		return err
	}
	return r.check(ctx)
}

// second looks once more where nothing has waited, and refuses a mirror that is
// being written to.
func (r *run) second(ctx context.Context) error {
	first := r.look
	if err := r.again(ctx, false); err != nil {
		return err
	}
	if r.Policy.EvenIfWritten {
		return nil
	}
	s, now := r.look.scan, r.moment().StoreTime()
	for i := range listing.ID(s.Objects.Len()) {
		if now.Sub(s.Objects.At(i).Time()) < time.Hour {
			return fmt.Errorf("%w: %s was written less than an hour ago, and nothing has waited: say --even-if-written if nobody writes, or let it wait", ErrRefused, s.Objects.Key(i))
		}
	}
	sums := func(l *look) (all []string) {
		for _, x := range l.scan.Indexes {
			all = append(all, x.Object.Key+" "+x.Sum)
		}
		slices.Sort(all)
		return all
	}
	if !slices.Equal(sums(first), sums(r.look)) {
		return fmt.Errorf("%w: an index was changed meanwhile, and nothing has waited: try again when nobody writes", ErrRefused)
	}
	return nil
}

// again looks anew, and takes out of what goes what must stay by it. What is live again leaves the
// room at once: a run that is killed would have the next one delete it.
func (r *run) again(ctx context.Context, partial bool) error {
	l, err := r.Janitor.look(ctx, partial)
	if err != nil {
		return err
	}
	r.look = l
	tombs := len(r.next.Tombs)
	if err := r.recheck(); err != nil || len(r.next.Tombs) == tombs {
		return err
	}
	return r.writeRoom(ctx)
}

// isCurrent reports whether the look is new enough to delete by it.
func (r *run) isCurrent() bool {
	age := r.Now().Sub(r.look.ended)
	return age >= 0 && age < lookFor
}

// current repeats a look that is too old.
func (r *run) current(ctx context.Context) error {
	if r.isCurrent() {
		return nil
	}
	return r.again(ctx, r.look.partial)
}

// readyToDelete makes sure of the look and of the lease, both at once: this process may
// be stopped while it asks for either.
func (r *run) readyToDelete(ctx context.Context) error {
	for range retries {
		if err := r.current(ctx); err != nil {
			return err
		}
		if err := r.lease.Hold(ctx); err != nil {
			return err
		}
		if r.isCurrent() {
			return nil
		}
	}
	return errors.New("looking at the lease takes so long that the look at the mirror is too old then: run again when the store is faster")
}

// recheck keeps what is live by the newest look, was written since the first
// one, or is needed by what is present and does not go. What is new stays with
// all that it needs: its push may have skipped what was there.
func (r *run) recheck() error {
	p := &Plan{look: r.look, now: r.moment(), Head: Head{Policy: r.plan.Policy}, purge: r.plan.purge}
	var m *marks
	if p.purge == nil {
		m = p.live(p.now)
	} else {
		m = p.needed()
	}
	s, first := r.look.scan, r.plan.look.scan
	for at := range s.InCache() {
		if !first.Present.Has(at) && !r.hasDeletedID(at) {
			m.keep("new", at)
		} else if r.going.Has(at) && !s.Same(first, at) {
			m.keep("written since", at)
		}
	}
	r.grow(s.DAG.Len())
	for at := range m.marked.All() {
		r.needed.Set(at)
	}
	r.tooLate(s)
	held := newMarks(s, buildcache.Runtime)
	for at := range s.InCache() {
		if !r.going.Has(at) {
			held.keep("stays", at)
		}
	}
	for at := range r.going.All() {
		switch {
		case r.needed.Has(at):
			r.stays(at, m)
			if !r.deleted.Has(at) {
				r.next.Leave(at, s.DAG.Hash(at))
			}
		case held.has(at):
			r.stays(at, held)
		}
	}
	return r.prove()
}

// tooLate notes what is deleted and what a push needs that is not complete.
func (r *run) tooLate(s *scan.Scan) {
	m := newMarks(s, buildcache.Runtime)
	markPushes(m, r.Policy.Grace, r.moment().Earlier())
	for at := range r.deleted.All() {
		if m.has(at) && m.from[at] != 0 && !s.Present.Has(at) {
			if r.late == nil {
				r.late = map[dag.ID]string{}
			}
			r.late[at] = s.DAG.Text(m.from[at] - 1)
		}
	}
}

func (r *run) stays(at dag.ID, m *marks) {
	r.going.Clear(at)
	if r.deleted.Has(at) {
		return // too late: the look at the end tells what that does
	}
	why := "it is needed"
	if m.has(at) {
		rule, chain := m.chain(at)
		why = rule
		if len(chain) > 1 {
			why += ": " + chain[0] + " needs it"
		}
	}
	note := fmt.Sprintf("%s stays: %s", r.look.scan.DAG.Text(at), why)
	r.Log("%s", note)
	r.res.Stayed = append(r.res.Stayed, note)
}

// grow makes room for specs that came to be known since.
func (r *run) grow(n int) {
	for _, b := range []*index.Bits{&r.going, &r.needed, &r.deleted} {
		if more := len(index.NewBits(n)) - len(*b); more > 0 {
			*b = append(*b, make(index.Bits, more)...)
		}
	}
}

func (r *run) hasDeleted(hash []byte) bool {
	if r.plan == nil {
		return false
	}
	at, ok := r.plan.look.scan.DAG.LookupText(hash)
	return ok && r.hasDeletedID(at)
}

func (r *run) hasDeletedID(at dag.ID) bool { return r.deleted.Has(at) }
