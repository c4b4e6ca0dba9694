package views

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Order returns the specs of a lockfile that a view is made of, in the order in which they are
// projected: of two packages with the same file the first one keeps it. Externals are not among
// them, nor what select and exclude leave out. The roots are in the order of the lockfile, which is
// Spack's. Where select or exclude cannot be decided as Spack would that is an error.
func (v View) Order(lock *buildcache.Lockfile, roots []buildcache.Hash) ([]*buildcache.Spec, error) {
	d := dag{specs: lock.Specs, types: v.Link.types()}
	var hashes []buildcache.Hash
	switch r := rulesOf(lock.Spack.Version); {
	case r.breadthFirst:
		hashes = d.breadthFirst(roots)
	case r.dependentsFirst:
		hashes = slices.Collect(backward(d.postOrder(roots)))
	default:
		hashes = d.preOrder(roots)
	}
	var specs []*buildcache.Spec
	for _, hash := range hashes {
		spec := lock.Specs[hash]
		if spec.External {
			continue
		}
		selected, err := v.selects(lock, spec)
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		if selected {
			specs = append(specs, spec)
		}
	}
	return newestRuntimes(specs), nil
}

// A dag is the part of a lockfile's graph that a view follows.
type dag struct {
	specs map[buildcache.Hash]*buildcache.Spec
	types buildcache.DepTypes
}

// next returns the dependencies of a spec that the view follows, by name.
func (d dag) next(hash buildcache.Hash) []buildcache.Hash {
	var deps []buildcache.Dependency
	for _, dep := range d.specs[hash].Dependencies {
		if dep.Types&d.types != 0 && d.specs[dep.Hash] != nil {
			deps = append(deps, dep)
		}
	}
	slices.SortStableFunc(deps, func(a, b buildcache.Dependency) int { return cmp.Compare(a.Name, b.Name) })
	hashes := make([]buildcache.Hash, len(deps))
	for i, dep := range deps {
		hashes[i] = dep.Hash
	}
	return hashes
}

func (d dag) preOrder(roots []buildcache.Hash) []buildcache.Hash {
	var order []buildcache.Hash
	seen := map[buildcache.Hash]bool{}
	var visit func(buildcache.Hash)
	visit = func(hash buildcache.Hash) {
		if seen[hash] || d.specs[hash] == nil {
			return
		}
		seen[hash] = true
		order = append(order, hash)
		for _, dep := range d.next(hash) {
			visit(dep)
		}
	}
	for _, root := range roots {
		visit(root)
	}
	return order
}

func (d dag) postOrder(roots []buildcache.Hash) []buildcache.Hash {
	var order []buildcache.Hash
	seen := map[buildcache.Hash]bool{}
	var visit func(buildcache.Hash)
	visit = func(hash buildcache.Hash) {
		if seen[hash] || d.specs[hash] == nil {
			return
		}
		seen[hash] = true
		for _, dep := range d.next(hash) {
			visit(dep)
		}
		order = append(order, hash)
	}
	for _, root := range roots {
		visit(root)
	}
	return order
}

// breadthFirst is the topological order that is nearest to breadth first: a
// spec comes when the last of its dependents has come, in the order of their
// edges. A root that is named twice counts once.
func (d dag) breadthFirst(roots []buildcache.Hash) []buildcache.Hash {
	waiting := map[buildcache.Hash]int{} // edges that lead to a spec and are not followed yet
	seen := map[buildcache.Hash]bool{}
	for queue := slices.Clone(roots); len(queue) > 0; queue = queue[1:] {
		hash := queue[0]
		if d.specs[hash] == nil {
			continue
		}
		waiting[hash]++
		if !seen[hash] {
			seen[hash] = true
			queue = append(queue, d.next(hash)...)
		}
	}
	var order []buildcache.Hash
	follow := func(edges []buildcache.Hash) {
		for _, hash := range edges {
			if waiting[hash]--; waiting[hash] == 0 {
				order = append(order, hash)
			}
		}
	}
	follow(roots)
	for i := 0; i < len(order); i++ {
		follow(d.next(order[i]))
	}
	return order
}

func backward(hashes []buildcache.Hash) func(yield func(buildcache.Hash) bool) {
	return func(yield func(buildcache.Hash) bool) {
		for i := len(hashes) - 1; i >= 0; i-- {
			if !yield(hashes[i]) {
				return
			}
		}
	}
}

// runtimes are the packages with the tag "runtime" in Spack's repositories. A
// view takes only the newest of each.
var runtimes = []string{"compiler-wrapper", "gcc-runtime", "glibc", "intel-oneapi-runtime", "musl"}

func newestRuntimes(specs []*buildcache.Spec) []*buildcache.Spec {
	newest := map[string]*buildcache.Spec{}
	for _, spec := range specs {
		if before := newest[spec.Name]; before == nil || CompareVersions(before.Version, spec.Version) < 0 {
			newest[spec.Name] = spec
		}
	}
	return slices.DeleteFunc(specs, func(spec *buildcache.Spec) bool {
		return slices.Contains(runtimes, spec.Name) && newest[spec.Name] != spec
	})
}
