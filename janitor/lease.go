package janitor

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
)

const (
	leaseKey = Prefix + "lease.json"
	leaseFor = 10 * time.Minute // as long as a killed janitor keeps others out
)

// A lease is the right to write to a mirror's cache, held by one janitor at a
// time.
type lease struct {
	store Store
	now   func() time.Time
	etag  string
	wrote time.Time // by the store's clock
	claim claim
	stop  context.CancelCauseFunc
	done  sync.WaitGroup

	patient bool // the store could not refuse to write it: a rival may have looked when we did, and write now
}

// A claim is the lease as it lies in the mirror.
type claim struct {
	Owner   string    `json:"owner"`
	Nonce   string    `json:"nonce"`
	Run     string    `json:"run"`
	Expires time.Time `json:"expires"`
}

// take gets the lease and keeps it until release. The context that it returns
// ends when the lease is lost. On the way it finds out how to write to the
// store, which all that follows needs.
func (j *Janitor) take(ctx context.Context, run string) (context.Context, *lease, error) {
	l := &lease{store: j.Store, now: j.Now, claim: claim{Owner: j.Owner, Nonce: rand.Text(), Run: run}}
	cond := buildcache.Condition{IfNoneMatch: true}
	data, o, err := get(ctx, l.store, leaseKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, nil, fmt.Errorf("lease: %w", err)
	default:
		var held claim
		if json.Unmarshal(data, &held) == nil && j.Now().Before(held.Expires) {
			return nil, nil, leased(held)
		}
		cond = buildcache.Condition{IfMatch: o.ETag}
	}
	if err = l.write(ctx, cond); errors.Is(err, errors.ErrUnsupported) {
		l.store = careful{j.Store, true, true}
		err = l.write(ctx, cond)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := l.confirm(ctx, j); err != nil {
		_ = l.giveBack(ctx) // else it runs out
		return nil, nil, err
	}
	ctx, l.stop = context.WithCancelCause(ctx)
	l.done.Go(func() { l.renew(ctx) })
	return ctx, l, nil
}

// confirm makes sure that the lease that was written is ours, whatever the
// store heeds.
func (l *lease) confirm(ctx context.Context, j *Janitor) error {
	store, err := l.probe(ctx, j)
	if err != nil {
		return err
	}
	l.store, j.Store = store, store
	if _, ok := l.store.(careful); ok || l.patient {
		if err := pause(ctx, j.Settle); err != nil {
			return err
		}
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	j.ahead = l.now().Sub(l.wrote)
	return nil
}

func leased(c claim) error {
	return fmt.Errorf("%w: %s, run %s, until %s: wait, or if it was killed and you are sure remove %s",
		ErrLeased, c.Owner, c.Run, c.Expires.UTC().Format(time.RFC3339), leaseKey)
}

// write claims the lease for some time to come. A server that takes the delete
// marker of the last lease for an object refuses again and again, though there
// is nothing.
func (l *lease) write(ctx context.Context, cond buildcache.Condition) error {
	for try := 1; ; try++ {
		l.claim.Expires = l.now().Add(leaseFor)
		etag, err := putJSON(ctx, l.store, leaseKey, l.claim, cond)
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

// check makes sure that the lease is ours: not every store heeds conditions.
func (l *lease) check(ctx context.Context) error {
	data, o, err := get(ctx, l.store, leaseKey)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	var held claim
	if err := json.Unmarshal(data, &held); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if held.Nonce != l.claim.Nonce {
		return leased(held)
	}
	l.etag, l.wrote = o.ETag, o.ModTime
	return nil
}

func (l *lease) renew(ctx context.Context) {
	tick := time.NewTicker(leaseFor / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := l.check(ctx)
		if err == nil {
			err = l.write(ctx, buildcache.Condition{IfMatch: l.etag})
		}
		if errors.Is(err, ErrLeased) || l.now().After(l.claim.Expires.Add(-leaseFor/5)) {
			l.stop(fmt.Errorf("the lease is lost: %w", err))
			return
		}
	}
}

// release gives the lease back, even if the run was interrupted.
func (l *lease) release(ctx context.Context) error {
	l.stop(nil)
	l.done.Wait()
	return l.giveBack(ctx)
}

func (l *lease) giveBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := l.check(ctx); err != nil {
		return fmt.Errorf("give the lease back: %w", err)
	}
	if err := l.store.Delete(ctx, []string{leaseKey}); err != nil {
		return fmt.Errorf("give the lease back: %w", err)
	}
	return nil
}
