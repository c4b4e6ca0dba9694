package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// trash copies what goes aside, and makes sure that it is there.
func (r *run) trash(ctx context.Context) error {
	if r.KeepFor == 0 {
		return nil
	}
	r.Log("copy to the trash: %d objects", len(r.plan.Delete))
	prefix := trashPrefix(r.journal.run)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(copies)
	for _, d := range r.plan.Delete {
		if d.Kind == Own {
			continue
		}
		group.Go(func() error {
			err := r.Store.Copy(gctx, d.Key, prefix+d.Key)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone already
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("copy to the trash: %w", err)
	}
	kept := map[string]int64{}
	for o, err := range r.Store.List(ctx, prefix) {
		if err != nil {
			return fmt.Errorf("copy to the trash: %w", err)
		}
		kept[strings.TrimPrefix(o.Key, prefix)] = o.Size
	}
	for _, d := range r.plan.Delete {
		if size, ok := kept[d.Key]; d.Kind != Own && (!ok || size != d.Size) {
			return fmt.Errorf("copy to the trash: %s is not there as it was: nothing was deleted, run again", d.Key)
		}
	}
	return r.journal.write(ctx, Step{What: "copied to the trash"})
}

// keepIndex puts an index that is about to be replaced into the trash.
func (r *run) keepIndex(ctx context.Context, rep Replacement) error {
	if r.KeepFor == 0 {
		return nil
	}
	key := keptIndex(r.journal.run, rep.Before)
	if _, err := r.Store.Put(ctx, key, bytes.NewReader(rep.data), int64(len(rep.data)), buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("keep the index: %w", err)
	}
	return nil
}

func keptIndex(run, checksum string) string { return trashPrefix(run) + "indexes/" + checksum }

// copies is how many objects are copied at a time.
const copies = 16

// GCTrash removes trash whose time has passed, and returns how much that was.
func (j Janitor) GCTrash(ctx context.Context) (res Result, err error) {
	err = j.leased(ctx, "gc-trash", func(ctx context.Context) error {
		keys, bytes, err := j.expired(ctx)
		if err != nil || len(keys) == 0 {
			return err
		}
		r := &run{Janitor: j, res: &res}
		failed := map[string]string{}
		if err := r.deleteOnce(ctx, keys, failed); err != nil {
			return err
		}
		res.Objects, res.Bytes = len(keys)-len(failed), bytes
		if len(failed) > 0 {
			res.Failed = failed
			return fmt.Errorf("%w: %d of %d in the trash", ErrUndeleted, len(failed), len(keys))
		}
		return nil
	})
	return res, err
}

// expired lists the trash that is older than its run wanted it kept. Trash of
// a run without a journal stays: nobody knows how long it was wanted.
func (j Janitor) expired(ctx context.Context) (keys []string, bytes int64, err error) {
	until := map[string]time.Time{}
	prefix := Prefix + "trash/"
	for o, err := range j.Store.List(ctx, prefix) {
		if err != nil {
			return nil, 0, err
		}
		run, _, ok := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		if !ok {
			continue
		}
		if _, known := until[run]; !known {
			opened, _, err := readRun(ctx, j.Store, run)
			if err != nil && !errors.Is(err, ErrNothingFor) {
				return nil, 0, err
			}
			until[run] = opened.KeepUntil
		}
		if at := until[run]; !at.IsZero() && j.Now().After(at) {
			keys = append(keys, o.Key)
			bytes += o.Size
		}
	}
	return keys, bytes, nil
}
