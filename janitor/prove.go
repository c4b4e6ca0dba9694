package janitor

import (
	"fmt"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

// Prove checks a plan against a scan, by other ways than those by which plans
// are made: every spec that stays keeps all its objects, and needs nothing at
// run time that goes; what a rule keeps also keeps what the policy says. Its
// error is ErrUnproved.
func Prove(p Plan, s *Scan) error {
	for i := range p.objects.All() {
		if k := s.objects.at(i).kind; !s.has(i) || !k.deletable() {
			return fmt.Errorf("%w: %s is never deleted, or not there", ErrUnproved, s.objects.key(i))
		}
	}
	for i, manifest := range s.manifests {
		if p.objects.Has(manifest) || !s.has(manifest) {
			continue
		}
		for _, b := range s.blobsOf.of(uint32(i)) {
			if o := s.blobs[b].object; o != 0 && p.objects.Has(o-1) {
				return fmt.Errorf("%w: %s stays and names %s", ErrUnproved, s.objects.key(manifest), s.objects.key(o-1))
			}
		}
	}
	var stay, kept []id
	for at := range s.specs() {
		if p.goes(at) {
			continue
		}
		stay = append(stay, at)
		for _, o := range s.own(at) {
			if p.objects.Has(o) {
				return fmt.Errorf("%w: %s stays without its %s %s", ErrUnproved, s.dag.text(at), s.objects.at(o).kind, s.objects.key(o))
			}
		}
	}
	if err := s.stays(stay, buildcache.Runtime, p.goes); err != nil {
		return err
	}
	for at := range p.stay.All() {
		if p.goes(at) {
			return fmt.Errorf("%w: %s is kept and goes", ErrUnproved, s.dag.text(at))
		}
		if p.marks == nil || p.marks.has(at) && p.marks.rules[p.marks.rule[at]] != keepYoung {
			kept = append(kept, at)
		}
	}
	if p.marks == nil {
		return s.stays(kept, buildcache.Runtime, p.goes) // how each was kept is not known any more
	}
	return s.stays(kept, p.Policy.edges(), p.goes)
}

// deletable says whether objects of a kind may ever be deleted by a plan.
func (k Kind) deletable() bool { return k.counts() || k == Own }

// stays makes sure that nothing goes which the given specs need.
func (s *Scan) stays(roots []id, types buildcache.DepTypes, goes func(id) bool) error {
	seen := index.NewBits(s.dag.len())
	type step struct{ at, by id }
	var stack []step
	for _, at := range roots {
		stack = append(stack, step{at, at})
	}
	for len(stack) > 0 {
		last := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen.Has(last.at) {
			continue
		}
		seen.Set(last.at)
		if goes(last.at) {
			return fmt.Errorf("%w: %s goes, and %s needs it", ErrUnproved, s.dag.text(last.at), s.dag.text(last.by))
		}
		for to, t := range s.dag.edges(last.at) {
			if t&(types|splice) != 0 && !seen.Has(to) {
				stack = append(stack, step{to, last.at})
			}
		}
	}
	return nil
}

// proveRoots checks that nothing goes which a lockfile needs, as the lockfile
// has it.
func proveRoots(p Plan, s *Scan, roots Roots) error {
	for _, l := range roots.Locks {
		for i := range l.lock.Mark(l.lock.Roots, p.Policy.edges()).All() {
			at, ok := s.dag.find(l.lock.Graph, i)
			if !ok || !s.present.Has(at) {
				continue
			}
			all := s.all(at)
			if i := slices.IndexFunc(all, p.objects.Has); i >= 0 {
				return fmt.Errorf("%w: lock %s needs %s, whose %s %s would go", ErrUnproved, l.Name, s.dag.text(at), s.objects.at(all[i]).kind, s.objects.key(all[i]))
			}
		}
	}
	return nil
}
