package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// All that this program knows of the janitor is in this file.

// grace is the grace period. Everything in a synthetic cache is older.
const grace = 48 * time.Hour

// plan decides what would go, as a dry run does.
func plan(ctx context.Context, s step, store *s3.Store, r *report) error {
	j := worker(s, store)
	p, err := j.Plan(ctx)
	if err != nil {
		return err
	}
	r.Objects, r.Gone = p.Room.Objects, p.Room.Specs
	return j.Scan.Known.Save()
}

// condemn does a whole run in which nothing has waited.
func condemn(ctx context.Context, s step, store *s3.Store, r *report) error {
	j := worker(s, store)
	j.Policy.Wait = time.Hour
	done, err := j.Prune(ctx)
	if err != nil {
		return err
	}
	r.Gone = done.Condemned
	return j.Scan.Known.Save()
}

// prune does a whole run that deletes what an earlier one has condemned.
func prune(ctx context.Context, s step, store *s3.Store, r *report) error {
	j := worker(s, store)
	done, err := j.Prune(ctx)
	if err != nil {
		return err
	}
	r.Objects, r.Gone = done.Objects, done.Specs
	return j.Scan.Known.Save()
}

// worker is a janitor that hardly waits.
func worker(s step, store *s3.Store) janitor.Janitor {
	return janitor.Janitor{
		Store: store, Mirror: s.Mirror, Owner: "bench", Settle: -1, Scan: scan.Options{Known: scan.OpenKnown(s.Known)},
		Policy: janitor.Policy{Grace: grace, MaxAge: s.MaxAge, MaxFraction: 1, Wait: time.Nanosecond},
		Roots: func(context.Context) (roots rootset.Roots, err error) {
			lock, err := rootset.ReadLock(s.Lock, func() (io.ReadCloser, error) { return os.Open(s.Lock) })
			roots.Locks = []rootset.Lock{lock}
			return roots, err
		},
	}
}

// reindex writes the index anew.
func reindex(ctx context.Context, s step, store *s3.Store, _ *report) error {
	_, err := worker(s, store).Reindex(ctx, false)
	return err
}
