package janitor

import (
	"fmt"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Prove checks a plan against a scan, by other ways than those by which plans
// are made: every spec that stays keeps all its objects, and needs nothing at
// run time that goes; what a rule keeps also keeps what the policy says. Its
// error is ErrUnproved.
func Prove(p Plan, s *Scan) error {
	going := map[buildcache.Hash]bool{}
	for _, g := range p.Going {
		going[g.Hash] = true
	}
	gone := map[string]bool{}
	for _, d := range p.Delete {
		if o := s.Objects[d.Key]; o == nil || !o.deletable() {
			return fmt.Errorf("%w: %s is never deleted, or not there", ErrUnproved, d.Key)
		}
		gone[d.Key] = true
	}
	for manifest, blobs := range s.blobs {
		if gone[manifest] {
			continue
		}
		for _, b := range blobs {
			if gone[b.Key()] {
				return fmt.Errorf("%w: %s stays and names %s", ErrUnproved, manifest, b.Key())
			}
		}
	}
	var stay []buildcache.Hash
	for hash, spec := range s.Specs {
		if going[hash] {
			continue
		}
		stay = append(stay, hash)
		for _, o := range spec.Objects {
			if gone[o.Key] {
				return fmt.Errorf("%w: %s stays without its %s %s", ErrUnproved, spec, o.Kind, o.Key)
			}
		}
	}
	if err := s.stays(stay, buildcache.Runtime, going); err != nil {
		return err
	}
	var kept []buildcache.Hash
	for _, k := range p.Keep {
		if going[k.Hash] {
			return fmt.Errorf("%w: %s is kept and goes", ErrUnproved, k.Hash)
		}
		if k.Rule != keepYoung {
			kept = append(kept, k.Hash)
		}
	}
	return s.stays(kept, p.Policy.edges(), going)
}

// stays makes sure that nothing goes which the given specs need.
func (s *Scan) stays(roots []buildcache.Hash, types buildcache.DepTypes, going map[buildcache.Hash]bool) error {
	seen := map[buildcache.Hash]bool{}
	type step struct{ hash, by buildcache.Hash }
	var stack []step
	for _, h := range roots {
		stack = append(stack, step{h, h})
	}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[at.hash] {
			continue
		}
		seen[at.hash] = true
		if going[at.hash] {
			return fmt.Errorf("%w: %s goes, and %s needs it", ErrUnproved, s.Nodes[at.hash], s.Nodes[at.by])
		}
		n := s.Nodes[at.hash]
		if n == nil {
			continue
		}
		for _, d := range n.Dependencies {
			if d.Types&types != 0 {
				stack = append(stack, step{d.Hash, at.hash})
			}
		}
		if n.BuildSpec != "" {
			stack = append(stack, step{n.BuildSpec, at.hash})
		}
	}
	return nil
}

// proveRoots checks that nothing goes which a lockfile needs, as the lockfile
// has it.
func proveRoots(p Plan, s *Scan, roots Roots) error {
	gone := map[string]bool{}
	for _, d := range p.Delete {
		gone[d.Key] = true
	}
	for _, l := range roots.Locks {
		var hashes []buildcache.Hash
		for _, r := range l.File.Roots {
			hashes = append(hashes, r.Hash)
		}
		for _, n := range l.File.Closure(hashes, p.Policy.edges()) {
			for _, hash := range []buildcache.Hash{n.Hash, n.BinaryHash()} {
				spec := s.Specs[hash]
				if spec == nil {
					continue
				}
				for _, o := range s.objectsOf(spec) {
					if gone[o.Key] {
						return fmt.Errorf("%w: lock %s needs %s, whose %s %s would go", ErrUnproved, l.Name, n, o.Kind, o.Key)
					}
				}
			}
		}
	}
	return nil
}
