package janitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Plan looks at the mirror and decides. It only reads. With an error nothing
// may be applied; the plan is then what would have been done, as far as it got.
func (j Janitor) Plan(ctx context.Context) (*Plan, error) {
	j = j.ready()
	return j.plan(ctx, nil, limits{})
}

// plan makes a plan from a new look.
func (j *Janitor) plan(ctx context.Context, purge *Purge, limits limits) (*Plan, error) {
	l, err := j.look(ctx, false)
	if err != nil {
		return nil, err
	}
	r, err := room.Read(ctx, j.Store, j.Mirror, l.scan)
	if err != nil {
		return nil, err
	}
	p, err := j.decide(l, r, purge, limits)
	if err != nil || purge != nil || j.Policy.TargetSize == 0 {
		return p, err
	}
	if err := j.price(ctx, p); err != nil {
		return nil, err
	}
	return j.decide(l, r, purge, limits)
}

// decide makes a plan from what was read. It changes nothing, and reads
// nothing but the clocks.
func (j *Janitor) decide(l *look, r *room.Room, purge *Purge, limits limits) (*Plan, error) {
	now := j.moment()
	p := &Plan{look: l, now: now, room: r, purge: purge, limits: limits, prices: j.prices, Head: Head{
		Run: now.Ours.UTC().Format("20060102T150405.000Z"), Mirror: j.Mirror, Made: now.Ours, Policy: j.Policy, Damage: l.scan.Damage, Roots: l.digest}}
	if purge != nil {
		return p.decidePurge()
	}
	if err := errors.Join(checkRoots(l.scan, l.roots, j.Policy.NoRoots), j.Policy.check(), p.current()); err != nil {
		p.allocate()
		return p.refuse(err)
	}
	p.know()
	m := p.live(now)
	p.allocate()
	p.marks = m
	p.unneeded(m)
	p.findLone(m)
	if j.prices != nil {
		p.keepWhatIsDear(m, j.prices)
	}
	p.fill(p.all, p.condemned)
	p.finish()
	p.mends()
	p.rooms(j.Repository)
	p.fill(p.objects, p.isDue)
	p.finish()
	return p, p.prove()
}

// current refuses an inventory that misses pushes which the grace period would
// have protected.
func (p *Plan) current() error {
	asOf := p.look.scan.AsOf
	if asOf.IsZero() {
		return nil
	}
	age := p.Made.Sub(asOf)
	if age < -clock.MaxJump { // all would be as much older
		return fmt.Errorf("%w: the inventory is of %s, which is yet to come: check the clock here, and the manifest", ErrRefused, asOf.Format(time.RFC3339))
	}
	if age > p.Policy.Grace {
		return fmt.Errorf("%w: the inventory is %s old, and the grace period %s: take a newer one, or wait longer with --grace", ErrRefused, age.Round(time.Minute), p.Policy.Grace)
	}
	return nil
}

// know says what a person should know of what the plan rests on.
func (p *Plan) know() {
	l := p.look
	if len(l.roots.Unknown) > 0 {
		p.Policy.Hold = "it is not known what all roots need"
		for _, what := range l.roots.Unknown {
			p.note("nothing is condemned or deleted: %s", what)
		}
	}
	l.notes(p.now.StoreTime(), p.note)
	if p.Policy.UsedSince > 0 && !p.Policy.Uses.namesAny(l.scan) {
		p.note("the access log names no spec of this build cache, so that none looks used: is it of another one?")
	}
	if n := len(l.scan.Unknown); n > 0 {
		p.note("%d objects could be parts of packages in a form that is not known here, and are kept: the first is %s", n, l.scan.Unknown[0])
	}
	if len(p.room.Tombs) > 0 {
		deleted, _ := open(l.scan, p.room)
		for _, what := range deleted {
			p.note("%s", what)
		}
	}
	if p.room.Lost != "" {
		said := p.room.Lost
		for _, s := range l.sets {
			if s.Repository() && p.room.ETag == "" {
				said += ", though the root set " + s.Name + " is of " + s.Written.UTC().Format(time.DateOnly)
				break
			}
		}
		if p.Policy.Wait != 0 {
			said += ": all that is condemned starts to wait now, and nothing is deleted before it has waited"
		}
		p.note("%s", said)
	}
	if back := p.room.BackThrice(); back > 0 {
		p.note("%d MB came back in each of the last three runs: something rewrites the cache, and what is rewritten is never freed", back>>20)
	}
}

// first reports whether this run believes no room, and was not told not to wait, as a purge always
// is: it changes nothing that is not our own.
func (p *Plan) first() bool {
	return p.room.Lost != "" && p.Policy.Wait != 0 && p.purge == nil
}

// mends says what is wrong with indexes and is put right.
func (p *Plan) mends() {
	for _, x := range p.look.scan.Indexes {
		var wrong []string
		if x.Stale {
			wrong = append(wrong, scan.IndexHashV2+": it is not the checksum of the index")
		}
		if n := x.Dangling.Count(); n > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d of its entries have no spec file or manifest", x.Object.Key, n))
		}
		if !p.first() {
			p.Mend = append(p.Mend, wrong...)
			continue
		}
		for _, w := range wrong {
			p.note("%s: the next run mends it", w)
		}
	}
}

// rooms decides how far each condemned spec and object is.
func (p *Plan) rooms(own string) {
	s, r := p.look.scan, p.room
	p.steady = r.Steady(p.now)
	if p.stop = p.whyNothingIsDue(own); p.stop != "" {
		p.note("%s", p.stop)
	}
	through := index.NewBits(len(r.Specs))
	for at := range s.InCache() {
		if !p.condemned(at) {
			continue
		}
		e := r.Spec(at)
		p.state[at] = p.stateOf(e, s.Digest(at), s.Uploaded(at))
		if e.Let && p.state[at] != fresh {
			through.Set(at)
		}
	}
	if slices.Contains(p.state, fresh) || p.freshLone() {
		p.brake(through)
	}
	for at, st := range p.state {
		p.state[at] = p.settle(st, p.limits.allows(dag.ID(at), false), p.limits.allows(dag.ID(at), true))
	}
	p.hold()
	for i := range p.lone.All() {
		if p.loneState(i) == due {
			p.objects.Set(i)
		}
	}
}

// stateOf compares a condemned spec or object with what the room says of it.
func (p *Plan) stateOf(e room.Entry, digest uint64, written time.Time) state {
	since, known := p.room.When(e.Run)
	changed := e.Run == 0 || !known || e.Digest != digest || written.After(since.StoreTime().Add(-clock.MaxJump))
	switch {
	case changed:
		return fresh
	case e.Taken != 0 && p.stop == "" && p.look.refreshedSince(since), p.stop == "" && p.waited(e.Run) && p.look.refreshedSince(since):
		return due
	case p.waited(e.Run):
		return holding
	}
	return waiting
}

// waitsFrom returns from when on time is counted for what a run has condemned. It is that run, or
// where a clock was set since, the first one behind that: how much time had passed before it nobody
// knows, since both clocks may be wrong.
func (p *Plan) waitsFrom(run uint32) (clock.Moment, bool) {
	if run < p.steady.N {
		return p.steady.Moment, true
	}
	return p.room.When(run)
}

func (p *Plan) waited(run uint32) bool {
	from, known := p.waitsFrom(run)
	return known && p.now.Since(from) >= p.Policy.Wait
}

// settle applies the brake, a wait of 0, and the limits of a plan that was
// reviewed.
func (p *Plan) settle(st state, mayCondemn, mayDelete bool) state {
	if st == fresh && (p.Brake != "" || p.Policy.Hold != "" || !mayCondemn) {
		return refused
	}
	if p.Policy.Wait == 0 && p.stop == "" && st != live && st != refused {
		st = due
	}
	if st == due && !mayDelete {
		return holding
	}
	return st
}

func (p *Plan) loneState(i listing.ID) state {
	key := p.look.scan.Objects.Key(i)
	return p.settle(p.loneFirst(i), p.limits.allowsKey(key, false), p.limits.allowsKey(key, true))
}

// loneFirst is the state of a lone object before the brake.
func (p *Plan) loneFirst(i listing.ID) state {
	s := p.look.scan
	return p.stateOf(p.room.Lone.Get(s.Objects.Key(i)), s.DigestOf(i), s.Objects.At(i).Time())
}

func (p *Plan) freshLone() bool {
	for i := range p.lone.All() {
		if p.loneFirst(i) == fresh {
			return true
		}
	}
	return false
}

// hold keeps a spec that has waited as long as a present spec that is not due
// needs it by link or run edges.
func (p *Plan) hold() {
	s := p.look.scan
	p.held = newMarks(s, buildcache.Runtime)
	for at := range s.InCache() {
		if p.state[at] != due {
			p.held.keep("", at)
		}
	}
	for at := range s.InCache() {
		if p.state[at] != due {
			continue
		}
		if p.held.has(at) {
			p.state[at] = holding
			continue
		}
		p.due.Set(at)
	}
}

// whyNothingIsDue returns why this run deletes nothing, or "".
func (p *Plan) whyNothingIsDue(own string) string {
	l, r := p.look, p.room
	last, ran := r.Last()
	switch {
	case p.Policy.CondemnOnly != "":
		return p.Policy.CondemnOnly
	case p.Policy.Hold != "":
		return p.Policy.Hold
	case !l.scan.AsOf.IsZero():
		return "an inventory is no look at what is there now: it only condemns"
	case l.scan.Opaque != "":
		return l.scan.Opaque + " may not be rewritten by this version: nothing is deleted"
	case ran && r.Lost == "" && p.now.Jumped(last.Moment):
		return "the clock here or that of the store was set by more than an hour since the last run, or that was on a machine with another time: nothing is deleted, and what is condemned waits anew from now on"
	}
	return l.problem(p.now.StoreTime(), own)
}

// fill adds the objects of specs that some manifests of other specs do not
// name.
func (p *Plan) fill(to index.Bits, goes func(dag.ID) bool) {
	s := p.look.scan
	used := s.UsedBlobs(func(manifest listing.ID) bool {
		of := s.Objects.At(manifest).Of
		return of != 0 && goes(of-1)
	})
	for at := range s.InCache() {
		if !goes(at) {
			continue
		}
		for _, o := range s.All(at) {
			if of := s.Objects.At(o); of.Kind != scan.Blob || !used.Has(of.Of-1) {
				to.Set(o)
			}
		}
	}
}

// findLone finds tarballs without a spec file and blobs that no manifest names,
// once they are old enough to belong to no push. The tarball of a spec that is
// live stays, even if its spec file was lost.
func (p *Plan) findLone(m *marks) {
	s := p.look.scan
	for i := range s.Of(scan.Tarball, scan.Blob) {
		o := s.Objects.At(i)
		if o.Kind == scan.Blob && (o.Of != 0 || s.Unnamed) || o.Kind == scan.Tarball && (m.has(o.Of-1) || s.Owned(i) || s.Odd[o.Of-1]) {
			continue
		}
		if p.seen().Sub(o.Time()) >= p.Policy.Grace {
			p.lone.Set(i)
			p.all.Set(i)
		}
	}
}

// rootsDigest names roots and root sets: where it is the same, so are they.
func rootsDigest(roots rootset.Roots) string {
	h := sha256.New()
	var lines []string
	for _, l := range roots.Locks {
		sum := fnv.New64a()
		var n uint64
		for _, i := range l.File.Entries() {
			sum.Reset()
			_, _ = sum.Write([]byte(l.File.Hash(i)))
			n += sum.Sum64()
		}
		lines = append(lines, fmt.Sprintf("lock %d %x %d", len(l.File.Entries()), n, len(l.File.Roots)))
	}
	for _, pin := range roots.Pins {
		lines = append(lines, "pin "+string(pin))
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(h, line)
	}
	return hex.EncodeToString(h.Sum(nil))
}
