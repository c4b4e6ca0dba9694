package janitor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// prove checks a plan by other ways than those by which it was made: what is
// not due keeps all its objects, and needs nothing at run time that is due.
func (p *Plan) prove() error {
	s := p.look.scan
	for i := range p.objects.All() {
		if k := s.Objects.At(i).Kind; !scan.IsPart(k) {
			return fmt.Errorf("%w: %s is never deleted", ErrUnproved, s.Objects.Key(i))
		}
	}
	for i, manifest := range s.Manifests {
		if p.objects.Has(manifest) {
			continue
		}
		for _, b := range s.BlobsOf.Of(uint32(i)) {
			if o := s.Blobs[b].Object; o != 0 && p.objects.Has(o-1) {
				return fmt.Errorf("%w: %s stays and names %s", ErrUnproved, s.Objects.Key(manifest), s.Objects.Key(o-1))
			}
		}
	}
	for at := range s.InCache() {
		if p.isDue(at) {
			continue
		}
		for _, o := range s.Own(at) {
			if p.objects.Has(o) {
				return fmt.Errorf("%w: %s stays without %s", ErrUnproved, s.DAG.Text(at), s.Objects.Key(o))
			}
		}
	}
	return nothingNeeds(s, p.isDue)
}

// prove checks that what is present and does not go needs nothing that goes.
func (r *run) prove() error { return nothingNeeds(r.look.scan, r.going.Has) }

// nothingNeeds makes sure that no present spec that stays needs at run time what
// goes.
func nothingNeeds(s *scan.Scan, goes func(dag.ID) bool) error {
	seen := index.NewBits(s.DAG.Len())
	type step struct{ at, by dag.ID }
	var stack []step
	for at := range s.InCache() {
		if goes(at) || seen.Has(at) {
			continue
		}
		seen.Set(at)
		stack = append(stack[:0], step{at, at})
		for len(stack) > 0 {
			last := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for to, t := range s.DAG.Edges(last.at) {
				if t&(buildcache.Runtime|dag.Splice) == 0 || seen.Has(to) {
					continue
				}
				if goes(to) {
					return fmt.Errorf("%w: %s goes, and %s needs it", ErrUnproved, s.DAG.Text(to), s.DAG.Text(last.by))
				}
				seen.Set(to)
				stack = append(stack, step{to, at})
			}
		}
	}
	return nil
}

// check looks a last time, at every spec and every manifest: what lacks
// something that we deleted is an error that names both, and is taken back
// where the bucket keeps versions. Then the room is written as it is now.
func (r *run) check(ctx context.Context) error {
	if err := r.again(ctx, true); err != nil {
		return err
	}
	holes, err := r.holes(ctx)
	if err != nil {
		return err
	}
	if len(holes) == 0 {
		if _, err := r.restore(ctx); err != nil {
			return err
		}
	}
	if r.named() { // an index was written from what was there before
		if _, err := r.swapAll(ctx); err != nil {
			return err
		}
	}
	if err := r.bury(ctx); err != nil {
		return err
	}
	if len(holes) == 0 {
		return nil
	}
	var keys, texts []string
	for _, h := range holes {
		texts = append(texts, h.text)
		keys = append(keys, h.keys...)
	}
	slices.Sort(texts)
	texts = slices.Compact(texts)
	remedy := "push what it needs again"
	if back, err := r.takeBack(ctx, keys); err != nil {
		remedy += fmt.Sprintf(" (taking it back failed: %v)", err)
	} else if back {
		remedy = "the bucket keeps versions, and it was taken back: check with janitor:verify and janitor:reindex"
	}
	return fmt.Errorf("%w: %s: it was pushed while we were at work: %s", ErrUnproved, strings.Join(texts[:min(3, len(texts))], "; "), remedy)
}

// A hole is something present that lacks what we deleted.
type hole struct {
	text string
	keys []string // of what was deleted
}

func (r *run) holes(ctx context.Context) (holes []hole, err error) {
	s, first := r.look.scan, r.plan.look.scan
	gone := func(by string, at dag.ID) {
		if !r.plan.due.Has(at) || s.Present.Has(at) {
			return
		}
		h := hole{text: by + " needs " + s.DAG.Text(at)}
		for _, at := range r.lostWith(at) {
			for _, o := range first.All(at) {
				h.keys = append(h.keys, first.Objects.Key(o))
			}
		}
		holes = append(holes, h)
	}
	for at, by := range r.late {
		gone(by, at)
	}
	for at := range s.InCache() {
		for to, types := range s.DAG.Edges(at) {
			if types&(buildcache.Runtime|dag.Splice) != 0 {
				gone(s.DAG.Text(at), to)
			}
		}
	}
	missing := func(by, key string) error {
		there, err := buildcache.Exists(ctx, r.Store, key)
		if err == nil && !there {
			holes = append(holes, hole{by + " names " + key, []string{key}})
		}
		return err
	}
	deleted := map[string]bool{} // blobs, by checksum
	tarballs := map[dag.ID]string{}
	for i := range r.plan.objects.All() {
		switch o := first.Objects.At(i); o.Kind {
		case scan.Blob:
			deleted[strings.TrimPrefix(first.Objects.Key(i), scan.BlobsPrefix)[3:]] = true
		case scan.Tarball:
			tarballs[o.Of-1] = first.Objects.Key(i)
		}
	}
	for i, manifest := range s.Manifests {
		for _, b := range s.BlobsOf.Of(uint32(i)) {
			if sum := hex.EncodeToString(s.Blobs[b].Sum[:]); deleted[sum] {
				if err := missing(s.Objects.Key(manifest), s.Blobs[b].Key()); err != nil {
					return nil, err
				}
			}
		}
	}
	for at, key := range tarballs {
		if s.HasFile(at) {
			if err := missing(s.DAG.Text(at), key); err != nil {
				return nil, err
			}
		}
	}
	return holes, nil
}

// lostWith returns a spec that was deleted, with those that it needs and that were deleted, too.
func (r *run) lostWith(at dag.ID) []dag.ID {
	s := r.look.scan
	all := []dag.ID{at}
	seen := map[dag.ID]bool{at: true}
	for i := 0; i < len(all); i++ {
		for to, types := range s.DAG.Edges(all[i]) {
			if types&(buildcache.Runtime|dag.Splice) != 0 && r.plan.due.Has(to) && !s.Present.Has(to) && !seen[to] {
				seen[to] = true
				all = append(all, to)
			}
		}
	}
	return all
}

// bury writes the room without what was deleted, and with its tombstones.
func (r *run) bury(ctx context.Context) error {
	s := r.look.scan
	for at := range r.plan.due.All() {
		if r.next.Spec(at).Run != 0 && !s.Present.Has(at) {
			r.next.Leave(at, s.DAG.Hash(at))
		}
	}
	var left room.LoneEntries
	i := 0
	for keys := r.next.Lone.Keys.Cursor(); keys.Next(); i++ {
		if n, ok := r.plan.look.scan.Objects.Find(string(keys.Key)); !ok || !r.objects.Has(n) {
			left.Add(keys.Key, r.next.Lone.List[i])
		}
	}
	r.next.Lone = left
	return r.writeRoom(ctx)
}

// A versioned store may keep what is deleted from it.
type versioned interface {
	Versioning(ctx context.Context) (bool, error)
	// Versions yields the newest of each key first.
	Versions(ctx context.Context, prefix string) iter.Seq2[buildcache.Version, error]
	DeleteVersions(ctx context.Context, versions []buildcache.Version) error
}

// takeBack takes our delete markers off some keys, if the bucket keeps versions.
func (r *run) takeBack(ctx context.Context, keys []string) (bool, error) {
	store, ok := buildcache.Capable(r.Store).(versioned)
	if !ok {
		return false, nil
	}
	if on, err := store.Versioning(ctx); err != nil || !on {
		return false, err
	}
	var errs []error
	back := false
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		taken, err := takeOff(ctx, store, key)
		back = back || taken
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil || back {
		return back, err
	}
	return false, errors.New("there are no delete markers")
}

// takeOff takes the delete markers off one key: there are several if a deletion was sent again
// whose reply was lost.
func takeOff(ctx context.Context, store versioned, key string) (taken bool, err error) {
	for range tries {
		var latest buildcache.Version
		for v, err := range store.Versions(ctx, key) {
			if err != nil {
				return taken, err
			}
			if v.Key != key { // what follows has longer keys
				break
			}
			if v.Latest {
				latest = v
			}
		}
		switch {
		case latest.ID == "":
			return taken, fmt.Errorf("%s: the bucket has no version of it any more", key)
		case !latest.Deleted:
			return taken, nil
		}
		if err := store.DeleteVersions(ctx, []buildcache.Version{latest}); err != nil {
			return taken, err
		}
		taken = true
	}
	return taken, fmt.Errorf("%s: it has more than %d delete markers", key, tries)
}
