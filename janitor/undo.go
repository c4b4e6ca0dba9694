package janitor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Undo brings back what a run took away: tarballs and blobs, then spec files
// and manifests, then the index entries as they were. What was pushed again
// since stays as it is.
func (j Janitor) Undo(ctx context.Context, name string) (res Result, err error) {
	opened, steps, err := readRun(ctx, j.Store, name)
	if err != nil {
		return res, err
	}
	if opened.KeepUntil.IsZero() {
		return res, fmt.Errorf("run %s: %w: it kept nothing to bring back; runs that shall be undone need --keep-for", name, ErrRefused)
	}
	err = j.leased(ctx, "undo "+name, func(ctx context.Context) error {
		u := &undo{Janitor: j, run: name, res: &res}
		return u.bringBack(ctx, steps)
	})
	res.Run = name
	return res, err
}

type undo struct {
	Janitor
	run string
	res *Result
}

func (u *undo) bringBack(ctx context.Context, steps []Step) error {
	prefix := trashPrefix(u.run)
	var first, then []buildcache.Object
	for o, err := range u.Store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		switch kindOf(strings.TrimPrefix(o.Key, prefix)) {
		case Tarball, Blob:
			first = append(first, o)
		case SpecFile, Manifest:
			then = append(then, o)
		}
	}
	if len(first)+len(then) == 0 {
		return fmt.Errorf("run %s: %w: its trash is empty, or was collected", u.run, ErrRefused)
	}
	for _, objects := range [][]buildcache.Object{first, then} {
		if err := u.copyBack(ctx, objects); err != nil {
			return err
		}
	}
	if err := u.indexes(ctx, steps); err != nil {
		return err
	}
	j := &journal{store: u.Store, run: u.run, n: len(steps), now: u.Now}
	if err := j.write(ctx, Step{What: "undone"}); err != nil {
		return err
	}
	_, err := NewScan(ctx, u.Store, u.Scan)
	return err
}

// copyBack copies what is missing.
func (u *undo) copyBack(ctx context.Context, objects []buildcache.Object) error {
	back := make([]bool, len(objects))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(copies)
	for i, o := range objects {
		group.Go(func() error {
			key := strings.TrimPrefix(o.Key, trashPrefix(u.run))
			there, err := exists(gctx, u.Store, key)
			if err != nil || there {
				return err
			}
			back[i] = true
			return u.Store.Copy(gctx, o.Key, key)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("bring back: %w", err)
	}
	for i, o := range objects {
		if back[i] {
			u.res.Objects++
			u.res.Bytes += o.Size
			if _, ok := buildcache.KeyHash(o.Key); ok && kindOf(strings.TrimPrefix(o.Key, trashPrefix(u.run))) != Tarball {
				u.res.Specs++
			}
		}
	}
	return nil
}

// indexes takes the replacements of indexes back, the last one first.
func (u *undo) indexes(ctx context.Context, steps []Step) error {
	for _, s := range slices.Backward(steps) {
		if s.Index == nil {
			continue
		}
		if err := u.index(ctx, *s.Index); err != nil {
			return err
		}
	}
	return nil
}

func (u *undo) index(ctx context.Context, rep Replacement) error {
	records, err := parseRecords(rep.Records)
	if err != nil {
		return err
	}
	s, err := NewScan(ctx, u.Store, u.Scan)
	if err != nil {
		return err
	}
	layout := 3
	if rep.Key == indexV2 {
		layout = 2
	}
	for i, r := range records {
		records[i] = r.patch(r.refs, r.cached && s.hasLayout(r.hash, layout))
	}
	old, err := u.former(ctx, rep)
	if err != nil {
		return err
	}
	change := putBack(records)
	err = u.swap(ctx, rep.Key, func(x *index) (*entries, error) {
		if checksum(x.data) == rep.After && old != nil {
			return parseEntries(old) // nobody wrote since: byte for byte
		}
		return change(x)
	}, func(Replacement) error { return nil })
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no index any more: run janitor:reindex", err)
	}
	return err
}

// former returns an index as it was before the run.
func (u *undo) former(ctx context.Context, rep Replacement) ([]byte, error) {
	data, _, err := get(ctx, u.Store, keptIndex(u.run, rep.Before))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
