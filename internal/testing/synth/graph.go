package synth

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A dep is an edge to a spec.
type dep struct {
	to      int
	types   buildcache.DepTypes
	virtual string
}

// deps appends the dependencies of a spec by name, as Spack sorts them.
func (c Cache) deps(list []dep, i int) []dep {
	switch {
	case c.External(i):
		return list
	case i < shared:
		list = append(list, dep{to: glibc, types: buildcache.Link, virtual: "libc"})
		if i == gmake {
			list = append(list, dep{to: runtime, types: buildcache.Link})
		}
	default:
		list = append(list,
			dep{to: glibc, types: buildcache.Link, virtual: "libc"},
			dep{to: runtime, types: buildcache.Link},
			dep{to: gmake, types: buildcache.Build},
			dep{to: wrapper, types: buildcache.Build},
		)
		list = c.libraries(list, i)
	}
	if c.v3() && i != wrapper {
		list = append(list, dep{to: compiler, types: buildcache.Build, virtual: "c"})
	}
	slices.SortFunc(list, func(a, b dep) int { return cmp.Compare(c.Name(a.to), c.Name(b.to)) })
	return list
}

// libraries appends what a package of the stack needs of packages below it:
// mostly of those at its bottom.
func (c Cache) libraries(list []dep, i int) []dep {
	generation, slot := (i-shared)/stack, (i-shared)%stack
	r := rand.New(c.random(i, forDeps))
	for range min(slot, 1+r.IntN(6)) {
		u := r.Float64()
		below := int(float64(slot) * u * u)
		// The lower a package, the more rarely it is rebuilt.
		period := 1 << (3 - min(3, below*8/stack))
		to := shared + (generation-generation%period)*stack + below
		if slices.ContainsFunc(list, func(d dep) bool { return d.to == to }) {
			continue
		}
		list = append(list, dep{to: to, types: pick(r)})
	}
	return list
}

func pick(r *rand.Rand) buildcache.DepTypes {
	switch n := r.IntN(20); {
	case n < 10:
		return buildcache.Build | buildcache.Link
	case n < 13:
		return buildcache.Build | buildcache.Run
	case n < 15:
		return buildcache.Run
	default:
		return buildcache.Build
	}
}

// refCounts returns the number of dependents of each spec.
func (c Cache) refCounts() []uint32 {
	refs := make([]uint32, c.Specs)
	var list []dep
	for i := range c.Specs {
		list = c.deps(list[:0], i)
		for _, d := range list {
			refs[d.to]++
		}
	}
	return refs
}

// closure returns a spec and all that it needs by edges of the given types,
// itself first.
func (c Cache) closure(types buildcache.DepTypes, roots ...int) []int {
	all := slices.Clone(roots)
	seen := map[int]bool{}
	for _, i := range roots {
		seen[i] = true
	}
	var list []dep
	for k := 0; k < len(all); k++ {
		list = c.deps(list[:0], all[k])
		for _, d := range list {
			if d.types&types != 0 && !seen[d.to] {
				seen[d.to] = true
				all = append(all, d.to)
			}
		}
	}
	return all
}

// Name returns the name of a spec's package.
func (c Cache) Name(i int) string {
	switch i {
	case glibc:
		return "glibc"
	case compiler:
		if c.v3() {
			return "gcc"
		}
		return "perl"
	case runtime:
		return "gcc-runtime"
	case gmake:
		return "gmake"
	case wrapper:
		if c.v3() {
			return "compiler-wrapper"
		}
		return "pkgconf"
	}
	return names[(i-shared)%stack]
}

// Version returns the version of a spec's package. It goes up every third
// generation; between, only what lies below has changed.
func (c Cache) Version(i int) string {
	if i < shared {
		return []string{"2.36", "12.2.0", "12.2.0", "4.4.1", "1.0"}[i]
	}
	generation, slot := (i-shared)/stack, (i-shared)%stack
	return strconv.Itoa(1+slot%7) + "." + strconv.Itoa(generation/3) + "." + strconv.Itoa(slot%4)
}

// names are those of the packages of the stack, lowest first.
var names = func() (names [stack]string) {
	first := []string{"", "lib", "py-", "r-", "perl-", "open", "fast", "qs-"}
	second := []string{"neuro", "mesh", "vector", "flow", "graph", "tensor", "signal", "parallel", "stream", "archive"}
	third := []string{"kit", "io", "core", "tools", "net"}
	for k := range names {
		names[k] = first[k%8] + second[k/8%10] + "-" + third[k/80%5]
	}
	return names
}()
