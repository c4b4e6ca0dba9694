package buildcache

import (
	"fmt"
	"maps"
	"slices"
)

// Closure returns roots and all that they need by edges of the given types,
// each spec once, dependencies before dependents: the post-order walk of the
// roots in their order, each spec's dependencies in theirs. Externals are part
// of it. A root that the lockfile does not hold is left out.
func (l *Lockfile) Closure(roots []Hash, types DepTypes) []*Spec {
	var closure []*Spec
	seen := map[Hash]bool{}
	var visit func(Hash)
	visit = func(h Hash) {
		s, ok := l.Specs[h]
		if !ok || seen[h] {
			return
		}
		seen[h] = true
		for _, d := range s.Dependencies {
			if d.Types&types != 0 {
				visit(d.Hash)
			}
		}
		closure = append(closure, s)
	}
	for _, h := range roots {
		visit(h)
	}
	return closure
}

// dangling looks for references to nodes that are not there.
func (l *Lockfile) dangling() error {
	for _, r := range l.Roots {
		if l.Specs[r.Hash] == nil {
			return fmt.Errorf("%w: root %q: no node has its hash %s", ErrFormat, r.Spec, r.Hash)
		}
	}
	for _, h := range slices.Sorted(maps.Keys(l.Specs)) {
		s := l.Specs[h]
		for _, d := range s.Dependencies {
			if l.Specs[d.Hash] == nil {
				return fmt.Errorf("%w: %s: no node has the hash %s of its dependency %q", ErrFormat, s, d.Hash, d.Name)
			}
		}
		// Spack itself looks the build spec up in the lockfile.
		if s.BuildSpec != "" && l.Specs[s.BuildSpec] == nil {
			return fmt.Errorf("%w: %s: no node has the hash %s of its build spec", ErrFormat, s, s.BuildSpec)
		}
	}
	return nil
}

// cycle looks for a spec that needs itself.
func (l *Lockfile) cycle() error {
	const open, done = 1, 2
	state := map[Hash]int{}
	var visit func(Hash) error
	visit = func(h Hash) error {
		s := l.Specs[h]
		if s == nil || state[h] == done {
			return nil
		}
		if state[h] == open {
			return fmt.Errorf("%w: %s depends on itself", ErrFormat, s)
		}
		state[h] = open
		for _, d := range s.Dependencies {
			if err := visit(d.Hash); err != nil {
				return err
			}
		}
		state[h] = done
		return nil
	}
	for _, h := range slices.Sorted(maps.Keys(l.Specs)) {
		if err := visit(h); err != nil {
			return err
		}
	}
	return nil
}
