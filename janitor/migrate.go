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
// entries of the indexes. What was pushed again since stays as it is, and a spec
// of which something is missing stays away. What comes back is young, and is
// condemned later like anything else that nobody needs.
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
		if err := j.copyBack(ctx, l, prefix, contents, &res); err != nil {
			return err
		}
		var lacks []string
		if owners, lacks, err = j.whole(ctx, prefix, owners, contents); err != nil {
			return err
		}
		if err := j.copyBack(ctx, l, prefix, owners, &res); err != nil {
			return err
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
				if o := s.Objects.At(i); (layout == 2) == (o.Kind == scan.SpecFile) && s.Whole(o.Of-1, layout) && !s.CachedBy(key, o.Of-1) {
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
		if len(lacks) > 0 {
			return fmt.Errorf("%d spec files or manifests stay away, the rest is back: push their packages again: first %s", len(lacks), lacks[0])
		}
		return nil
	})
	return res, err
}

// whole returns the spec files and manifests in the trash of which all is there that they name, and
// of the others what they lack: readers of such a spec find it, and cannot install it.
func (j *Janitor) whole(ctx context.Context, prefix string, owners, contents []string) (whole, lacks []string, err error) {
	tarballs := map[buildcache.Hash]bool{} // that are back, wherever they are
	for _, key := range contents {
		if hash, ok := buildcache.KeyHash(key); ok {
			tarballs[hash] = true
		}
	}
	lack := make([]string, len(owners))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, owner := range owners {
		group.Go(func() (err error) {
			lack[i], err = j.lacks(ctx, prefix, owner, tarballs)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, fmt.Errorf("restore: %w", err)
	}
	for i, owner := range owners {
		if lack[i] != "" {
			lacks = append(lacks, owner+": "+lack[i])
			continue
		}
		whole = append(whole, owner)
	}
	return whole, lacks, nil
}

// lacks returns what is missing of a spec file or manifest that is in the trash alone, or "".
func (j *Janitor) lacks(ctx context.Context, prefix, owner string, tarballs map[buildcache.Hash]bool) (string, error) {
	if there, err := buildcache.Exists(ctx, j.Store, owner); there || err != nil {
		return "", err
	}
	if hash, ok := buildcache.KeyHash(owner); ok && tarballs[hash] && buildcache.KindOf(owner) == scan.SpecFile {
		return "", nil
	}
	data, _, err := buildcache.ReadAll(ctx, j.Store, prefix+owner)
	if err != nil {
		return "", err
	}
	names, err := named(owner, data)
	if err != nil {
		return err.Error(), nil
	}
	for _, key := range names {
		if there, err := buildcache.Exists(ctx, j.Store, key); !there || err != nil {
			return key + " is neither there nor among the copies", err
		}
	}
	return "", nil
}

// named returns the keys of the blobs of a manifest, or of the tarball of a spec file.
func named(owner string, data []byte) (keys []string, err error) {
	if buildcache.KindOf(owner) == scan.Manifest {
		m, err := buildcache.ParseManifest(data)
		if err != nil {
			return nil, err
		}
		for _, b := range m.Blobs {
			keys = append(keys, b.Key())
		}
		return keys, nil
	}
	text, err := buildcache.Unsign(data)
	if err != nil {
		return nil, err
	}
	nodes, err := buildcache.SpecFileNodes(text)
	if err != nil {
		return nil, err
	}
	return []string{buildcache.TarballKey(nodes[0])}, nil
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
