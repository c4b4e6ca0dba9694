package pipeline

import (
	"fmt"
	"maps"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// packages are those of one platform that its mirrors do not have.
type packages struct {
	platform string
	has      func(buildcache.Hash) bool
	found    map[buildcache.Hash]*missing
	specs    map[buildcache.Hash]*buildcache.Spec // all that any lockfile has, looked at once
	counted  map[buildcache.Hash]bool             // in the mirrors, and needed
	cached   int
	bases    []string // IDs of base images that each build of a package needs
}

// A missing package, by the hash under which the mirror will have it.
type missing struct {
	spec       *buildcache.Spec
	needs      map[buildcache.Hash]bool // what else is missing and must be there before
	containers map[string]bool          // that are to be built
}

func newPackages(platform string, has func(buildcache.Hash) bool) *packages {
	if has == nil {
		has = func(buildcache.Hash) bool { return false }
	}
	return &packages{platform: platform, has: has, found: map[buildcache.Hash]*missing{},
		specs: map[buildcache.Hash]*buildcache.Spec{}, counted: map[buildcache.Hash]bool{}}
}

// need learns what a container needs, and returns the IDs of the missing packages that must be
// there before it: their own needs follow from theirs.
func (p *packages) need(c Container) ([]string, error) {
	w := walk{packages: p, lock: c.Lock, container: c, done: map[buildcache.Hash][]buildcache.Hash{}}
	var ids []string
	for _, root := range c.Roots {
		front, err := w.visit(root)
		if err != nil {
			return nil, err
		}
		for _, hash := range front {
			ids = append(ids, packageID(p.platform, hash))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// A walk goes through one lockfile.
type walk struct {
	*packages
	lock      *buildcache.Lockfile
	container Container
	done      map[buildcache.Hash][]buildcache.Hash
}

// visit returns which missing packages must be in the mirror before the spec can be installed from
// there: itself, or where the mirror has it those among what it needs to run. What is missing is
// built, for which it takes also what only builds need.
func (w *walk) visit(hash buildcache.Hash) ([]buildcache.Hash, error) {
	if front, ok := w.done[hash]; ok {
		return front, nil
	}
	s := w.lock.Specs[hash]
	if s == nil {
		return nil, fmt.Errorf("the lockfile has no node %s", hash)
	}
	w.done[hash] = nil // a build spec that leads back here ends here
	if s.External {
		return nil, nil
	}
	if err := w.same(s); err != nil {
		return nil, err
	}
	binary := s.BinaryHash()
	has := w.has(binary)
	types := buildcache.Runtime
	if !has {
		types |= buildcache.Build
	}
	needs := map[buildcache.Hash]bool{}
	visit := func(dep buildcache.Hash) error {
		front, err := w.visit(dep)
		for _, h := range front {
			needs[h] = true
		}
		return err
	}
	for _, d := range s.Dependencies {
		if d.Types&types != 0 {
			if err := visit(d.Hash); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case has:
		w.count(binary)
		w.done[hash] = slices.Sorted(maps.Keys(needs))
		return w.done[hash], nil
	case s.BuildSpec != "": // its binary is that of another spec, relocated
		if err := visit(s.BuildSpec); err != nil {
			return nil, err
		}
		w.done[hash] = slices.Sorted(maps.Keys(needs))
		return w.done[hash], nil
	}
	m := w.found[binary]
	if m == nil {
		m = &missing{spec: s, needs: map[buildcache.Hash]bool{}, containers: map[string]bool{}}
		w.found[binary] = m
	}
	maps.Copy(m.needs, needs)
	if !w.container.UpToDate {
		m.containers[w.container.Name] = true
	}
	w.done[hash] = []buildcache.Hash{binary}
	return w.done[hash], nil
}

// count counts a package that is needed and there.
func (w *walk) count(hash buildcache.Hash) {
	if !w.container.UpToDate && !w.counted[hash] {
		w.counted[hash] = true
		w.cached++
	}
}

// same refuses a spec that is another one than that of the same hash in an earlier lockfile.
func (w *walk) same(s *buildcache.Spec) error {
	old := w.specs[s.Hash]
	if old == nil {
		w.specs[s.Hash] = s
		return nil
	}
	if old.Name != s.Name || old.Version != s.Version || old.BuildSpec != s.BuildSpec {
		return fmt.Errorf("its lockfile has %s, another container's has %s, under the same hash: lock one of them anew", s, old)
	}
	return nil
}

// unneeded is the number of packages that no container which is to be built wants.
func (p *packages) unneeded() (n int) {
	for _, m := range p.found {
		if len(m.containers) == 0 {
			n++
		}
	}
	return n
}

// steps returns one step for each package that a container which is to be built wants.
func (p *packages) steps(times Times) []Step {
	var steps []Step
	for hash, m := range p.found {
		if len(m.containers) == 0 {
			continue
		}
		s := Step{ID: packageID(p.platform, hash), Kind: Package, Name: m.spec.Name, Version: m.spec.Version, Platform: p.platform, Hash: hash,
			Containers: slices.Sorted(maps.Keys(m.containers)), Why: []string{"no mirror has it"},
			Needs: slices.Clone(p.bases), Seconds: times.of(m.spec.Name).Seconds()}
		for need := range m.needs {
			s.Needs = append(s.Needs, packageID(p.platform, need))
		}
		steps = append(steps, s)
	}
	return steps
}
