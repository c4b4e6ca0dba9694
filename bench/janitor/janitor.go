package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// All that this program knows of the janitor is in this file.

// grace is the grace period. Everything in a synthetic cache is older.
const grace = 48 * time.Hour

// plan decides what would go, as a dry run does.
func plan(ctx context.Context, s step, store *s3.Store, r *report) error {
	known := janitor.OpenKnown(s.Known)
	p, err := decide(ctx, s, store, janitor.ScanOptions{Known: known})
	if err != nil {
		return err
	}
	r.Objects, r.Gone = p.Before.Objects-p.After.Objects, p.Before.Specs-p.After.Specs
	return known.Save()
}

// prune does a whole run.
func prune(ctx context.Context, s step, store *s3.Store, r *report) error {
	known := janitor.OpenKnown(s.Known)
	p, err := decide(ctx, s, store, janitor.ScanOptions{Known: known, KeepTexts: true})
	if err != nil {
		return err
	}
	done, err := janitor.Janitor{Store: store, Scan: janitor.ScanOptions{Known: known}, Owner: "bench"}.Apply(ctx, p)
	if err != nil {
		return err
	}
	r.Objects, r.Gone = done.Objects, done.Specs
	return known.Save()
}

func decide(ctx context.Context, s step, store *s3.Store, opts janitor.ScanOptions) (p janitor.Plan, err error) {
	var roots janitor.Roots
	lock, err := janitor.ReadLock(s.Lock, func() (io.ReadCloser, error) { return os.Open(s.Lock) })
	if err != nil {
		return p, err
	}
	roots.Locks = []janitor.Lock{lock}
	opts.Locks = roots.Locks
	scan, err := janitor.NewScan(ctx, store, opts)
	if err != nil {
		return p, err
	}
	return janitor.NewPlan(scan, roots, janitor.Policy{Grace: grace, MaxAge: s.MaxAge, MaxFraction: 1}, time.Now())
}

// reindex writes the index anew.
func reindex(ctx context.Context, s step, store *s3.Store, _ *report) error {
	known := janitor.OpenKnown(s.Known)
	_, err := janitor.Janitor{Store: store, Scan: janitor.ScanOptions{Known: known}, Owner: "bench"}.Reindex(ctx, false)
	return err
}
