package janitor

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Versions without a waiting room deleted at once, and left a journal of each
// run and, if asked to, copies of what it had deleted. Runs by now neither read
// nor remove those.
const (
	oldRuns  = Prefix + "runs/"
	oldTrash = Prefix + "trash/"
)

// An OldRun is what an earlier version has left of one of its runs.
type OldRun struct {
	Run     string `json:"run"`
	Objects int    `json:"objects"` // copies of what it has deleted
	Bytes   int64  `json:"bytes"`
}

// OldRuns lists what earlier versions have left, in the order of their runs.
func (j Janitor) OldRuns(ctx context.Context) ([]OldRun, error) {
	runs := []OldRun{}
	left, err := j.leftBehind(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range left { // the journals of all runs come first
		journal := strings.HasPrefix(o.Key, oldRuns)
		name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(o.Key, oldRuns), oldTrash), "/")
		i := 0
		for i < len(runs) && runs[i].Run != name {
			i++
		}
		if i == len(runs) {
			runs = append(runs, OldRun{Run: name})
		}
		if !journal {
			runs[i].Objects++
			runs[i].Bytes += o.Size
		}
	}
	return runs, nil
}

func (j *Janitor) leftBehind(ctx context.Context) (all []buildcache.Object, err error) {
	for _, prefix := range []string{oldRuns, oldTrash} {
		for o, err := range j.Store.List(ctx, prefix) {
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", prefix, err)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// Restore brings back what a run of an earlier version has copied before it
// deleted it: tarballs and blobs, then spec files and manifests, then the
// entries of the indexes. What was pushed again since stays as it is. What comes
// back is young, and is condemned later like anything else that nobody needs.
func (j Janitor) Restore(ctx context.Context, name string) (res Result, err error) {
	j = j.ready()
	prefix := oldTrash + name + "/"
	var contents, owners []string
	for o, err := range j.Store.List(ctx, prefix) {
		if err != nil {
			return res, fmt.Errorf("list %s: %w", prefix, err)
		}
		switch key := strings.TrimPrefix(o.Key, prefix); buildcache.KindOf(key) {
		case scan.Tarball, scan.Blob:
			contents = append(contents, key)
		case scan.SpecFile, scan.Manifest:
			owners = append(owners, key)
		}
	}
	if name == "" || strings.Contains(name, "/") || len(contents)+len(owners) == 0 {
		return res, fmt.Errorf("run %q: %w: it has left no copies", name, ErrNothingFor)
	}
	res.Run = name
	err = j.leased(ctx, "restore "+name, func(ctx context.Context, l *lease.Lease) error {
		for _, keys := range [][]string{contents, owners} {
			if err := j.copyBack(ctx, l, prefix, keys, &res); err != nil {
				return err
			}
		}
		s, err := scan.New(ctx, j.Store, j.Scan)
		if err != nil {
			return err
		}
		r := &run{Janitor: j, lease: l, res: &res, look: &look{scan: s}}
		for layout, key := range map[int]string{2: scan.IndexV2, 3: scan.IndexV3} {
			back := map[dag.ID]bool{}
			for _, owner := range owners {
				i, ok := s.Objects.Find(owner)
				if !ok {
					continue
				}
				if o := s.Objects.At(i); (layout == 2) == (o.Kind == scan.SpecFile) && !s.CachedBy(key, o.Of-1) {
					back[o.Of-1] = true
				}
			}
			if len(back) == 0 {
				continue
			}
			if _, err := r.putBackInto(ctx, key, back); err != nil {
				return fmt.Errorf("%w: all objects are there: janitor:reindex makes the index", err)
			}
			res.Specs += len(back)
		}
		return nil
	})
	return res, err
}

// copyBack copies what is missing out of the trash.
func (j *Janitor) copyBack(ctx context.Context, l *lease.Lease, prefix string, keys []string, res *Result) error {
	if err := l.Hold(ctx); err != nil {
		return err
	}
	back := make([]bool, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, key := range keys {
		group.Go(func() error {
			there, err := buildcache.Exists(ctx, j.Store, key)
			if err == nil && !there {
				back[i], err = true, j.Store.Copy(ctx, prefix+key, key)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, is := range back {
		if is {
			res.Objects++
		}
	}
	return nil
}

// RemoveOldRuns removes all that earlier versions have left but their lease,
// which keeps them out.
func (j Janitor) RemoveOldRuns(ctx context.Context) (res Result, err error) {
	j = j.ready()
	err = j.leased(ctx, "remove what earlier versions have left", func(ctx context.Context, l *lease.Lease) error {
		left, err := j.leftBehind(ctx)
		for len(left) > 0 && err == nil {
			n := min(batch, len(left))
			var keys []string
			for _, o := range left[:n] {
				keys = append(keys, o.Key)
				res.Objects++
				res.Bytes += o.Size
			}
			if err = l.Hold(ctx); err == nil {
				err = j.Store.Delete(ctx, keys)
			}
			left = left[n:]
		}
		return err
	})
	return res, err
}
