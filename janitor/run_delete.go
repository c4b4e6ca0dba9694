package janitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/listing"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// deleteLone deletes objects that belong to no spec. That changes no index.
func (r *run) deleteLone(ctx context.Context) error {
	p := r.plan
	var lone []listing.ID
	for i := range p.objects.All() {
		if p.lone.Has(i) {
			lone = append(lone, i)
		}
	}
	if len(lone) == 0 {
		return nil
	}
	_, err := r.delete(ctx, "delete lone tarballs and blobs", func() []listing.ID { return r.unclaimed(lone) })
	return err
}

// deleteSpecs deletes spec files and manifests in waves: a spec only after all
// present specs that need it.
func (r *run) deleteSpecs(ctx context.Context) error {
	waves := r.waves()
	for _, wave := range waves {
		failed, err := r.delete(ctx, "delete spec files and manifests", func() (files []listing.ID) {
			for _, at := range wave {
				if r.going.Has(at) {
					files = append(files, r.plan.look.scan.Described(at)...)
				}
			}
			return files
		})
		if err != nil {
			return err
		}
		stuck := map[dag.ID]bool{}
		for key := range failed {
			if hash, ok := buildcache.KeyHash(key); ok {
				if at, ok := r.plan.look.scan.DAG.Lookup(hash); ok {
					stuck[at] = true
				}
			}
		}
		for _, at := range wave {
			if r.going.Has(at) && !stuck[at] {
				r.deleted.Set(at)
				r.res.Specs++
			}
		}
		if len(stuck) > 0 {
			r.unstick(stuck)
		}
	}
	return nil
}

// unstick keeps what could not be deleted, with all that it needs.
func (r *run) unstick(stuck map[dag.ID]bool) {
	m := newMarks(r.plan.look.scan, buildcache.Runtime)
	m.keep("it could not be deleted", slices.Collect(maps.Keys(stuck))...)
	for at := range r.going.All() {
		if m.has(at) && !r.deleted.Has(at) {
			r.going.Clear(at)
		}
	}
}

// waves sorts what goes: each wave is needed by none of the ones behind it.
// What is part of a circle is in none, and stays.
func (r *run) waves() (waves [][]dag.ID) {
	d := r.plan.look.scan.DAG
	needs := make([]uint32, d.Len()) // by how many that go
	for at := range r.going.All() {
		for to, types := range d.Edges(at) {
			if types&(buildcache.Runtime|dag.Splice) != 0 && r.going.Has(to) {
				needs[to]++
			}
		}
	}
	var wave []dag.ID
	for at := range r.going.All() {
		if needs[at] == 0 {
			wave = append(wave, at)
		}
	}
	for len(wave) > 0 {
		waves = append(waves, wave)
		var then []dag.ID
		for _, at := range wave {
			for to, types := range d.Edges(at) {
				if types&(buildcache.Runtime|dag.Splice) == 0 || !r.going.Has(to) {
					continue
				}
				if needs[to]--; needs[to] == 0 {
					then = append(then, to)
				}
			}
		}
		wave = then
	}
	return waves
}

// deleteRest deletes tarballs and blobs, as far as nothing refers to them:
// neither what came since, nor what could not be deleted.
func (r *run) deleteRest(ctx context.Context) error {
	if err := r.again(ctx, false); err != nil {
		return err
	}
	if err := r.restored(ctx); err != nil {
		return err
	}
	rest := r.rest()
	_, err := r.delete(ctx, "delete tarballs and blobs", func() []listing.ID { return r.unclaimed(rest) })
	return err
}

// rest returns the tarballs and blobs that go with specs.
func (r *run) rest() (all []listing.ID) {
	p := r.plan
	for i := range p.objects.All() {
		o := p.look.scan.Objects.At(i)
		if (o.Kind == scan.Blob || o.Kind == scan.Tarball) && !p.lone.Has(i) {
			all = append(all, i)
		}
	}
	return all
}

// unclaimed returns those tarballs and blobs of the first look that are as they
// were, and that nothing refers to in the newest one.
func (r *run) unclaimed(objects []listing.ID) (all []listing.ID) {
	first, s := r.plan.look.scan, r.look.scan
	used := s.UsedBlobs(func(manifest listing.ID) bool {
		of := s.Objects.At(manifest).Of
		return r.HandOver != nil && of != 0 && r.deleted.Has(of-1)
	})
	for _, i := range objects {
		o := first.Objects.Get(i)
		n, ok := s.Objects.Find(o.Key)
		if !ok || s.Objects.Get(n) != o {
			continue
		}
		now := s.Objects.At(n)
		switch {
		case now.Kind == scan.Blob && now.Of != 0 && used.Has(now.Of-1):
		case now.Kind == scan.Tarball && !r.deleted.Has(now.Of-1) && (s.Owned(n) || r.needed.Has(now.Of-1)):
		case now.Kind == scan.Tarball && r.deleted.Has(now.Of-1) && s.Owned(n) && r.HandOver == nil:
		default:
			all = append(all, i)
		}
	}
	return all
}

const (
	batch   = 1000 // keys in a request
	batches = 4    // at a time
	retries = 3
)

// delete deletes objects of the first look and returns those that were not,
// each tried a few times. objects is asked again when the look was repeated.
// The error means that the run cannot go on.
func (r *run) delete(ctx context.Context, what string, objects func() []listing.ID) (map[string]string, error) {
	if err := r.current(ctx); err != nil {
		return nil, err
	}
	s := r.plan.look.scan
	list := objects()
	failed := map[string]string{}
	if len(list) == 0 {
		return failed, nil
	}
	r.Log("%s: %d", what, len(list))
	if r.HandOver != nil {
		return failed, r.handStep(list)
	}
	left := list
	for try := 1; len(left) > 0 && try <= retries; try++ {
		if try > 1 {
			if err := r.Sleep(ctx, time.Duration(try)*100*time.Millisecond); err != nil {
				return nil, err
			}
		}
		clear(failed)
		if err := r.deleteOnce(ctx, left, failed, objects); err != nil {
			return nil, err
		}
		left = slices.DeleteFunc(slices.Clone(left), func(o listing.ID) bool { _, bad := failed[s.Objects.Key(o)]; return !bad })
	}
	for key, why := range failed {
		if r.res.Failed == nil {
			r.res.Failed = map[string]string{}
		}
		r.res.Failed[key] = why
	}
	return failed, nil
}

// deleteOnce tries to delete objects, batch by batch, and notes what failed.
// Before each batch the lease and the age of the look are checked.
func (r *run) deleteOnce(ctx context.Context, objects []listing.ID, failed map[string]string, ask func() []listing.ID) error {
	s := r.plan.look.scan
	all := len(objects)
	for old := 0; len(objects) > 0; {
		r.Scan.Tell("deleted objects", all-len(objects), all)
		look := r.look
		if err := r.readyToDelete(ctx); err != nil {
			return err
		}
		if r.look != look { // another look: what it keeps is left out
			may := map[listing.ID]bool{}
			for _, o := range ask() {
				may[o] = true
			}
			objects = slices.DeleteFunc(slices.Clone(objects), func(o listing.ID) bool { return !may[o] })
		}
		n := min(len(objects), batch*batches)
		err := r.deleteBatches(ctx, objects[:n], failed)
		if late := errors.Is(err, errOldLook); late && old < retries {
			old++
		} else if err != nil {
			return err
		} else {
			old = 0
		}
		var again []listing.ID
		for _, o := range objects[:n] {
			key := s.Objects.Key(o)
			switch _, bad := failed[key]; {
			case bad && err != nil: // not sent in time, as far as is known: the next look decides
				delete(failed, key)
				again = append(again, o)
			case !bad && !r.objects.Has(o):
				r.objects.Set(o)
				r.res.Objects++
				r.res.Bytes += s.Objects.At(o).Size
			}
		}
		objects = append(again, objects[n:]...)
	}
	return nil
}

// errOldLook is the cause of the end of a batch that would be sent by a look that is too old.
var errOldLook = errors.New("the look at the mirror is too old: this process stood still, or the store is slow, so run again")

func (r *run) deleteBatches(ctx context.Context, objects []listing.ID, failed map[string]string) error {
	ctx, cancel := r.lease.Bound(ctx)
	defer cancel()
	ctx, stop := context.WithTimeoutCause(ctx, lookFor-r.Now().Sub(r.look.ended), errOldLook)
	defer stop()
	var mu sync.Mutex
	var group errgroup.Group
	for chunk := range slices.Chunk(objects, batch) {
		group.Go(func() error {
			keys := slices.Collect(r.plan.look.scan.Keys(chunk))
			err := r.Store.Delete(ctx, keys)
			mu.Lock()
			defer mu.Unlock()
			var per *buildcache.DeleteError
			if errors.As(err, &per) {
				for _, f := range per.Failed {
					failed[f.Key] = f.Err.Error()
				}
			} else if err != nil {
				for _, key := range keys {
					failed[key] = err.Error()
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// handOver hands over what goes, spec files and manifests first, all by one look: what a
// later one finds may need a spec that was handed over already.
func (r *run) handOver(ctx context.Context) error {
	if err := r.again(ctx, false); err != nil {
		return err
	}
	if err := r.readyToDelete(ctx); err != nil {
		return err
	}
	if err := r.restored(ctx); err != nil {
		return err
	}
	s := r.plan.look.scan
	var specs []listing.ID
	for at := range r.going.All() {
		specs = append(specs, s.Described(at)...)
		r.deleted.Set(at)
	}
	for _, list := range [][]listing.ID{specs, r.unclaimed(r.rest())} {
		if len(list) == 0 {
			continue
		}
		if err := r.handStep(list); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) handStep(list []listing.ID) error {
	r.handed++
	var objects []buildcache.Object
	for _, i := range slices.Sorted(slices.Values(list)) {
		objects = append(objects, r.plan.look.scan.Objects.Get(i))
	}
	return r.HandOver(r.handed, objects)
}
