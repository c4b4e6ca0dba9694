package janitor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// keep makes sure that the run can be taken back: a store that keeps versions
// does so by itself, else there is the trash for those who want it.
func (r *run) keep(ctx context.Context) error {
	if err := r.keepVersions(ctx); err != nil || r.keeping != nil || r.KeepFor == 0 {
		return err
	}
	r.res.Kept = inTrash
	return r.trash(ctx)
}

func (r *run) undoable() bool { return r.keeping != nil || r.KeepFor > 0 }

const inTrash = "copied to the trash"

// trash copies what goes aside, and makes sure that it is there.
func (r *run) trash(ctx context.Context) error {
	r.Log("copy to the trash: %d objects", r.plan.objects.Count())
	prefix := trashPrefix(r.journal.run)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(copies)
	for d := range r.plan.Deletions() {
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
	for d := range r.plan.Deletions() {
		if size, ok := kept[d.Key]; d.Kind != Own && (!ok || size != d.Size) {
			return fmt.Errorf("copy to the trash: %s is not there as it was: nothing was deleted, run again", d.Key)
		}
	}
	return r.journal.write(ctx, Step{What: inTrash})
}

// keepIndex puts an index that is about to be replaced into the trash, also
// where there are versions: those of an index are not ours alone.
func (r *run) keepIndex(ctx context.Context, rep Replacement, was *text) error {
	if !r.undoable() {
		return nil
	}
	if _, err := r.Store.Put(ctx, keptIndex(r.journal.run, rep.Before), was, was.graph.Size(), buildcache.PutOptions{}); err != nil {
		return fmt.Errorf("keep the index: %w", err)
	}
	return nil
}

func keptIndex(run, checksum string) string { return trashPrefix(run) + "indexes/" + checksum }

// copies is how many objects are copied at a time.
const copies = 16
