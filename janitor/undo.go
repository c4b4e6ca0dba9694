package janitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Undo brings back what a run took away, from the trash or from versions:
// tarballs and blobs, then spec files and manifests, then the index entries as
// they were. What was pushed again since stays as it is.
func (j Janitor) Undo(ctx context.Context, name string) (res Result, err error) {
	opened, steps, err := readRun(ctx, j.Store, name)
	if err != nil {
		return res, err
	}
	record := recorded(steps)
	if opened.KeepUntil.IsZero() && record == nil {
		return res, fmt.Errorf("run %s: %w: it kept nothing to bring back; runs that shall be undone need --keep-for, or a bucket that keeps versions", name, ErrRefused)
	}
	err = j.leased(ctx, "undo "+name, func(ctx context.Context) error {
		u := &undo{Janitor: j, run: name, res: &res}
		var back []returning
		if record != nil {
			back, err = u.fromVersions(ctx, record)
		} else {
			back, err = u.fromTrash(ctx)
		}
		if err != nil {
			return err
		}
		return u.bringBack(ctx, back, steps)
	})
	res.Run = name
	return res, err
}

type undo struct {
	Janitor
	run string
	res *Result
}

// A returning object is one that comes back, unless it is there.
type returning struct {
	key  string
	size int64
	copy func(ctx context.Context) error
}

func (u *undo) fromTrash(ctx context.Context) ([]returning, error) {
	prefix := trashPrefix(u.run)
	var back []returning
	for o, err := range u.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		key := strings.TrimPrefix(o.Key, prefix)
		if kindOf(key).counts() {
			back = append(back, returning{key, o.Size, func(ctx context.Context) error { return u.Store.Copy(ctx, o.Key, key) }})
		}
	}
	if len(back) == 0 {
		return nil, fmt.Errorf("run %s: %w: its trash is empty, or was collected", u.run, ErrRefused)
	}
	return back, nil
}

// fromVersions finds what is to come back. A copy of the version does, instead
// of deleting the marker that hides it: so it counts as new, and no other
// version is touched.
func (u *undo) fromVersions(ctx context.Context, record *versionRecord) ([]returning, error) {
	store, ok := versionsOf(u.Store)
	if !ok {
		return nil, fmt.Errorf("run %s: %w: it has kept versions, of which this store knows nothing: give the mirror by its s3:// address", u.run, ErrRefused)
	}
	listed, err := listVersions(ctx, store, record.keys())
	if err != nil {
		return nil, err
	}
	var back []returning
	var gone []string
	for _, key := range slices.Sorted(maps.Keys(record.versions)) {
		switch v, state := record.back(key, listed[key]); state {
		case isHidden:
			back = append(back, returning{key, v.Size, func(ctx context.Context) error { return store.CopyVersion(ctx, v, key) }})
		case isForeign:
			note := key + ": somebody has written it since, and deleted it: it stays deleted"
			u.Log("%s", note)
			u.res.Stayed = append(u.res.Stayed, note)
		case isGone:
			gone = append(gone, key)
		}
	}
	if len(gone) > 0 {
		return nil, fmt.Errorf("run %s: %w: the bucket has not kept %d of its %d objects, first %s: janitor:gc-trash or a lifecycle rule has removed them",
			u.run, ErrRefused, len(gone), len(record.versions), gone[0])
	}
	return back, nil
}

func (u *undo) bringBack(ctx context.Context, back []returning, steps []Step) error {
	var first, then []returning
	for _, o := range back {
		if k := kindOf(o.key); k == Tarball || k == Blob {
			first = append(first, o)
		} else {
			then = append(then, o)
		}
	}
	for _, objects := range [][]returning{first, then} {
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
func (u *undo) copyBack(ctx context.Context, objects []returning) error {
	back := make([]bool, len(objects))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(copies)
	for i, o := range objects {
		group.Go(func() error {
			there, err := exists(gctx, u.Store, o.key)
			if err != nil || there {
				return err
			}
			back[i] = true
			return o.copy(gctx)
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("bring back: %w", err)
	}
	for i, o := range objects {
		if back[i] {
			u.res.Objects++
			u.res.Bytes += o.size
			if _, ok := buildcache.KeyHash(o.key); ok && kindOf(o.key) != Tarball {
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
	was, err := u.former(ctx, rep)
	if err != nil {
		return err
	}
	defer was.Close()
	s, err := NewScan(ctx, u.Store, u.Scan)
	if err != nil {
		return err
	}
	layout := 3
	if rep.Key == indexV2 {
		layout = 2
	}
	back := u.putBack(was, func(h buildcache.Hash) bool {
		at, ok := s.dag.lookup(h)
		return ok && s.hasLayout(at, layout)
	})
	_, err = u.swap(ctx, rep.Key, nil, func(ctx context.Context, x *cacheIndex) (*text, *text, error) {
		if x.sum == rep.After {
			return nil, was.lend(), nil // nobody wrote since: byte for byte
		}
		return back(ctx, x)
	}, func(Replacement, *text) error { return nil })
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no index any more: run janitor:reindex", err)
	}
	return err
}

// former returns an index as it was before the run.
func (u *undo) former(ctx context.Context, rep Replacement) (*text, error) {
	key := keptIndex(u.run, rep.Before)
	body, _, err := u.Store.Get(ctx, key)
	if err != nil {
		return nil, &buildcache.ObjectError{Key: key, Err: fmt.Errorf("the index as it was: %w: run janitor:reindex", err)}
	}
	defer body.Close()
	return newText(func(w io.Writer) error {
		_, err := io.Copy(w, body)
		return err
	})
}
