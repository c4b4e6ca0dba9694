// Package lease lets one janitor at a time write to a mirror. On the way it finds out how to write
// there, and what time it is there.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
)

const (
	key      = ".spacktainers/janitor/lease"
	clockKey = ".spacktainers/janitor/clock" // scratch: its ModTime is the store's time
	leaseFor = 10 * time.Minute              // as long as a killed janitor keeps others out
	margins  = leaseFor / 5                  // what must be left of it to begin a batch
	seenFor  = time.Second                   // how long a look at the lease counts
	renewAt  = leaseFor / 2                  // what is left when it is renewed
	rivals   = 3 * time.Second               // how long a rival may take between looking and writing, where the store cannot refuse a write

	// OldKey is where versions without a room look. They must not work on
	// this mirror any more, so the lease there never ends.
	OldKey = ".spacktainers/janitor/lease.json"
)

// ErrTaken is that another janitor is at work, or was killed, and its lease has not run out.
var ErrTaken = errors.New("another janitor is at work")

// Options are what a lease needs of its janitor.
type Options struct {
	Store buildcache.ReadWriter
	Owner string // for people who find the lease
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
	Log   func(format string, args ...any)
	Clock *clock.Clock // is told the store's time whenever the lease was seen
}

// A Lease is the right to write to a mirror's cache, held by one janitor at a
// time. How old it is is told by the store's clock, to which no other matters.
type Lease struct {
	Options
	Proven buildcache.ReadWriter // as it can be written to
	claim  claim

	busy    chan struct{} // of one, guards what follows: a caller who waits while another one asks the store honours its context
	etag    string
	wrote   time.Time // by j.Now, before the last write
	real    time.Time // the same by this machine's monotonic clock
	seen    time.Time // by j.Now: when it was last found to be ours
	stop    context.CancelCauseFunc
	done    sync.WaitGroup
	patient bool // the store could not refuse to write it: a rival may have looked when we did, and write now
}

// A claim is the lease as it is in the mirror.
type claim struct {
	Owner   string    `json:"owner"`
	Nonce   string    `json:"nonce"`
	Run     string    `json:"run"`
	Expires time.Time `json:"expires"` // by the owner's clock: for people
}

// Take gets the lease and keeps it until release. The context that it returns
// ends when the lease is lost. On the way it finds out how to write to the
// store, and what time it is there.
func Take(ctx context.Context, opts Options, run string) (context.Context, *Lease, error) {
	l := &Lease{Options: opts, Proven: opts.Store, busy: make(chan struct{}, 1), claim: claim{Owner: opts.Owner, Nonce: rand.Text(), Run: run}}
	cond, err := l.free(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err = l.write(ctx, cond); errors.Is(err, errors.ErrUnsupported) {
		l.Proven = careful{opts.Store, true, true}
		err = l.write(ctx, cond)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := l.confirm(ctx); err != nil {
		_ = l.giveBack(ctx) // else it runs out
		return nil, nil, err
	}
	ctx, l.stop = context.WithCancelCause(ctx)
	l.done.Go(func() { l.renew(ctx) })
	return ctx, l, nil
}

// free looks whether another janitor holds the lease.
func (l *Lease) free(ctx context.Context) (cond buildcache.Condition, err error) {
	if err := l.shutOut(ctx); err != nil {
		return cond, err
	}
	data, o, err := buildcache.ReadAll(ctx, l.Proven, key)
	if errors.Is(err, fs.ErrNotExist) {
		return buildcache.Condition{IfNoneMatch: true}, nil
	}
	if err != nil {
		return cond, fmt.Errorf("lease: %w", err)
	}
	now, err := l.storeTime(ctx)
	if err != nil {
		return cond, err
	}
	if now.Sub(o.ModTime) < leaseFor {
		held := claim{Owner: "unknown", Run: "unknown"}
		_ = json.Unmarshal(data, &held) // what cannot be read is a lease, too: a newer version may have written it
		return cond, leased(held, o.ModTime.Add(leaseFor))
	}
	return buildcache.Condition{IfMatch: o.ETag}, nil
}

// update is why the old lease never ends.
const update = "update: this mirror is kept by a newer version of spacktainers, which condemns before it deletes"

// shutOut keeps versions without a room out, for ever. One that is at work is
// waited for like any other janitor.
func (l *Lease) shutOut(ctx context.Context) error {
	data, o, err := buildcache.ReadAll(ctx, l.Proven, OldKey)
	cond := buildcache.Condition{IfNoneMatch: true}
	var held claim
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("lease: %w", err)
	case json.Unmarshal(data, &held) == nil && held.Run == update:
		return nil
	default:
		now, err := l.storeTime(ctx)
		if err != nil {
			return err
		}
		if now.Sub(o.ModTime) < leaseFor {
			return leased(held, o.ModTime.Add(leaseFor))
		}
		cond = buildcache.Condition{IfMatch: o.ETag}
	}
	c := claim{Owner: "a newer version of spacktainers", Nonce: rand.Text(), Run: update, Expires: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	_, err = putJSON(ctx, l.Proven, OldKey, c, cond)
	if errors.Is(err, errors.ErrUnsupported) {
		_, err = putJSON(ctx, careful{l.Proven, true, true}, OldKey, c, cond)
	}
	if errors.Is(err, buildcache.ErrChanged) { // the reply may have been lost, or another janitor is as far
		if data, _, err = buildcache.ReadAll(ctx, l.Proven, OldKey); err == nil && (json.Unmarshal(data, &held) != nil || held.Run != update) {
			err = leased(held, held.Expires)
		}
	}
	return err
}

// storeTime asks the store what time it is.
func (l *Lease) storeTime(ctx context.Context) (time.Time, error) {
	if _, err := putJSON(ctx, l.Proven, clockKey, claim{Nonce: rand.Text()}, buildcache.Condition{}); err != nil {
		return time.Time{}, err
	}
	_, o, err := buildcache.ReadAll(ctx, l.Proven, clockKey)
	return o.ModTime, err
}

// confirm makes sure that the lease that was written is ours, whatever the
// store honours.
func (l *Lease) confirm(ctx context.Context) error {
	store, err := l.probe(ctx)
	if err != nil {
		return err
	}
	l.Proven = store
	if _, ok := l.Proven.(careful); ok || l.patient {
		if err := l.Sleep(ctx, rivals); err != nil {
			return err
		}
	}
	return l.check(ctx)
}

func leased(c claim, until time.Time) error {
	return fmt.Errorf("%w: %s, run %s, until %s at the latest: wait", ErrTaken, c.Owner, c.Run, until.UTC().Format(time.RFC3339))
}

// write claims the lease for some time to come. A server that takes the delete
// marker of the last lease for an object refuses again and again, though there
// is nothing.
func (l *Lease) write(ctx context.Context, cond buildcache.Condition) error {
	for try := 1; ; try++ {
		l.wrote, l.real = l.Now(), time.Now()
		l.claim.Expires = l.wrote.Add(leaseFor)
		etag, err := putJSON(ctx, l.Proven, key, l.claim, cond)
		if !errors.Is(err, buildcache.ErrChanged) {
			l.etag = etag
			return err
		}
		err = l.check(ctx) // the reply to our own may have been lost
		if try == 3 || !cond.IfNoneMatch || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if try == 2 {
			cond, l.patient = buildcache.Condition{}, true
		}
	}
}

// check makes sure that the lease is ours: not every store honours conditions.
func (l *Lease) check(ctx context.Context) error {
	asked := l.Now()
	data, o, err := buildcache.ReadAll(ctx, l.Proven, key)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	var held claim
	if err := json.Unmarshal(data, &held); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if held.Nonce != l.claim.Nonce {
		return leased(held, o.ModTime.Add(leaseFor))
	}
	l.etag, l.seen = o.ETag, asked
	l.Clock.Set(l.wrote, o.ModTime)
	return nil
}

// left is how long the lease still counts, by the clock that went further.
func (l *Lease) left() time.Duration {
	return leaseFor - max(l.Now().Sub(l.wrote), time.Since(l.real))
}

// remaining is left for other goroutines.
func (l *Lease) remaining() time.Duration {
	l.busy <- struct{}{}
	defer func() { <-l.busy }()
	return l.left()
}

// Bound gives a write less time than the lease has, which hold has made sure of:
// one that is still under way when this process was stopped arrives no more when
// another one works.
func (l *Lease) Bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, max(time.Second, l.remaining()-margins/2))
}

var errLapsed = errors.New("the lease has run out while this process was stopped, or could not renew it: nothing more was changed, run again")

// Hold makes sure that the lease is still ours and lasts for a batch or a
// write. It is looked at before each.
func (l *Lease) Hold(ctx context.Context) error {
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if l.left() < margins {
		l.stop(errLapsed)
		return errLapsed
	}
	if now := l.Now(); now.Sub(l.seen) < seenFor && !now.Before(l.seen) && l.left() > renewAt {
		return context.Cause(ctx)
	}
	err := l.check(ctx)
	if err == nil && l.left() < renewAt {
		if err = l.write(ctx, buildcache.Condition{IfMatch: l.etag}); err == nil {
			err = l.check(ctx)
		}
	}
	if errors.Is(err, ErrTaken) {
		l.stop(err)
	}
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}

// Pause waits, and keeps the lease meanwhile.
func (l *Lease) Pause(ctx context.Context, d time.Duration) error {
	for d > 0 {
		piece := min(d, margins)
		if err := l.Sleep(ctx, piece); err != nil {
			return err
		}
		if err := l.Hold(ctx); err != nil {
			return err
		}
		d -= piece
	}
	return nil
}

// renew keeps the lease while a listing takes long.
func (l *Lease) renew(ctx context.Context) {
	tick := time.NewTicker(margins)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = l.Hold(ctx) // the next batch tells
	}
}

// Release gives the lease back, even if the run was interrupted.
func (l *Lease) Release(ctx context.Context) error {
	l.stop(nil)
	l.done.Wait()
	return l.giveBack(ctx)
}

func (l *Lease) giveBack(ctx context.Context) error {
	ctx, cancel := ctxio.CleanUp(ctx, 30*time.Second)
	defer cancel()
	if err := l.check(ctx); err != nil {
		return fmt.Errorf("give the lease back: %w", err)
	}
	if l.left() < margins {
		return nil // another janitor may take it any moment
	}
	if err := l.Proven.Delete(ctx, []string{key}); err != nil {
		return fmt.Errorf("give the lease back: %w", err)
	}
	return nil
}
