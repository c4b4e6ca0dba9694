// Package janitor decides what may go from a Spack build cache and what must
// stay, and takes away what may go.
//
// It is a collector with a waiting room: live → condemned → deleted. Condemned
// is only a mark in the mirror, with since when; index and objects stay. A
// later run deletes what has waited, and what its own fresh looks still find
// unneeded and unchanged. docs/janitor.md draws it.
//
// It refuses to guess: what cannot be read, a listing that is not whole, or
// roots that say nothing stop it with an error, and never mean "unused".
//
// Entry points: Janitor.Plan decides and only reads, Janitor.Apply does what a
// plan says or less. PlanPurge and PlanReviewed make plans too. Spare, Announce
// and PublishRoots leave root sets, Reindex writes indexes, Verify and Plan.Why
// explain. Time is injected: Now is our clock, the store's is what it says of
// the objects that are written, and Sleep is the only way to wait.
package janitor

import (
	"context"
	"errors"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Prefix is where the janitor keeps what is its own in the mirror: the lease
// and the room.
const Prefix = ".spacktainers/janitor/"

// A Store is a mirror that the janitor may write to. Planning needs the
// reading half only.
type Store = buildcache.ReadWriter

// Why the janitor stops, beside scan.ErrIncomplete and lease.ErrTaken. Nothing is deleted after any
// of them.
var (
	ErrRefused    = rootset.ErrRefused                            // the plan breaks a rule, or the roots say nothing
	ErrUnproved   = errors.New("something present lacks others")  // that this run deletes or has deleted
	ErrUndeleted  = errors.New("some objects were not deleted")   // the rest was; run again
	ErrNothingFor = errors.New("nothing in the cache matches it") // a name or hash that was asked for
)

// A Janitor works on one mirror. Only Store must be given.
type Janitor struct {
	Store      Store
	Mirror     string // the mirror's address: a room that names another one is not believed
	Owner      string // for people who find the lease or a root set
	Policy     Policy
	Repository string // name of our own root set, which Apply refreshes; "" publishes none
	Scan       scan.Options

	// Roots reads the lockfiles and pins. It is called for every look, so that
	// what came since counts. Nil is none.
	Roots func(context.Context) (rootset.Roots, error)

	// Settle is the time from the change of an index to the first deletion of
	// a spec file: clients keep an index for ten minutes, which is what 0
	// means. Negative is none.
	Settle time.Duration

	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
	Log   func(format string, args ...any)

	// HandOver takes what shall be deleted by another process, as it was looked
	// at, step by step, three at most: no step may begin before the one before it
	// is done. Nothing is deleted then; the indexes are changed all the same,
	// which must come first.
	HandOver func(step int, objects []buildcache.Object) error

	// Price says how long specs take to build: it fills in Seconds and Estimated. It is asked where the
	// policy has a target size, and may read the mirror.
	Price func(context.Context, []*Priced) error

	clock  *clock.Clock       // the store's
	prices map[dag.ID]*Priced // of what a plan without a target size would condemn; nil: not asked yet
}

// SettleDefault is how long Spack's clients keep an index.
const SettleDefault = 10 * time.Minute

// ready fills in what was not given.
func (j Janitor) ready() Janitor {
	if j.Now == nil {
		j.Now = time.Now
	}
	if j.Sleep == nil {
		j.Sleep = sleep
	}
	if j.Scan.Known == nil {
		j.Scan.Known = scan.OpenKnown("")
	}
	if j.Settle == 0 {
		j.Settle = SettleDefault
	}
	if j.Log == nil {
		j.Log = func(string, ...any) {}
	}
	j.clock = &clock.Clock{}
	return j
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (j *Janitor) moment() clock.Moment { return j.clock.Now(j.Now()) }

// leased calls f while we hold the lease.
func (j *Janitor) leased(ctx context.Context, what string, f func(context.Context, *lease.Lease) error) (err error) {
	held, l, err := lease.Take(ctx, lease.Options{Store: j.Store, Owner: j.Owner, Now: j.Now, Sleep: j.Sleep, Log: j.Log, Clock: j.clock}, what)
	if err != nil {
		return err
	}
	j.Store = l.Proven
	defer func() {
		if cause := context.Cause(held); err != nil && cause != nil && ctx.Err() == nil {
			err = cause
		}
		err = errors.Join(err, l.Release(ctx))
	}()
	return f(held, l)
}
