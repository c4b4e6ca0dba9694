package torture

import (
	"crypto/sha1"
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// A Spec is a node of the concrete DAG from which caches are made.
type Spec struct {
	Name, Version, Hash string
	External            bool
	Deps                []Edge

	texts sync.Map // of its objects and records, by form: they are the same in all histories
}

// An Edge is a dependency, with the words that Spack has for its types.
type Edge struct {
	On    *Spec
	Types []string
}

// Runtime reports whether the dependent cannot run without what the edge leads to.
func (e Edge) Runtime() bool {
	return slices.Contains(e.Types, "link") || slices.Contains(e.Types, "run")
}

// A Graph is all specs that a history knows, dependencies before dependents.
type Graph struct {
	Specs []*Spec
}

var edgeTypes = [][]string{{"build"}, {"build", "link"}, {"link"}, {"run"}, {"build", "run"}, {"link", "run"}, {"build", "link", "run"}, {"link"}}

var spackHash = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")

// newGraph makes a DAG of n packages. Names have hyphens and parts that look like versions or
// hashes; several specs share a name, as versions and variants do. The first ones are what every
// environment has: externals, and gcc-runtime.
func newGraph(seed uint64, n int) *Graph {
	r := rand.New(rand.NewPCG(seed, 0x5ac))
	g := &Graph{}
	add := func(name, version string, external bool, deps ...Edge) *Spec {
		sum := sha1.Sum(fmt.Appendf(nil, "%d/%d/%s@%s", seed, len(g.Specs), name, version))
		s := &Spec{Name: name, Version: version, External: external, Deps: deps, Hash: spackHash.EncodeToString(sum[:])}
		g.Specs = append(g.Specs, s)
		return s
	}
	glibc := add("glibc", "2.36", true)
	gcc := add("gcc", "12.2.0", true)
	runtime := add("gcc-runtime", "12.2.0", false, Edge{glibc, []string{"link"}})
	wrapper := add("compiler-wrapper", "1.0", false)
	for i := range n {
		name := fmt.Sprintf([]string{"qs-a%d", "py-b%d-2", "lib-%d", "r-c-%d-x"}[i%4], i/4%3)
		version := fmt.Sprintf([]string{"%d.1", "2.%d-rc1", "develop-%d"}[i%3], r.IntN(20))
		deps := []Edge{{runtime, []string{"link"}}, {glibc, []string{"link"}}, {gcc, []string{"build"}}, {wrapper, []string{"build"}}}
		// Most stay within a family, such that not everything hangs on everything.
		family := i % (2 + n/10)
		for range r.IntN(4) {
			on := family + r.IntN(2+n/10)*btoi(r.IntN(8) == 0)
			if steps := i / (2 + n/10); steps > 0 {
				on += (2 + n/10) * max(0, steps-1-r.IntN(1+r.IntN(3)))
			}
			if on < i && !slices.ContainsFunc(deps, func(e Edge) bool { return e.On == g.Specs[4+on] }) {
				deps = append(deps, Edge{g.Specs[4+on], edgeTypes[r.IntN(len(edgeTypes))]})
			}
		}
		add(name, version, false, deps...)
	}
	return g
}

// closure returns specs and what they need, dependencies first. With all, edges that only building
// needs count as well.
func closure(specs []*Spec, all bool) (found []*Spec) {
	seen := map[*Spec]bool{}
	var visit func(s *Spec)
	visit = func(s *Spec) {
		if seen[s] {
			return
		}
		seen[s] = true
		for _, e := range s.Deps {
			if all || e.Runtime() {
				visit(e.On)
			}
		}
		found = append(found, s)
	}
	for _, s := range specs {
		visit(s)
	}
	return found
}

// dependents returns a spec's hash, and those of all that cannot run without it.
func (g *Graph) dependents(hash string) map[string]bool {
	found := map[string]bool{hash: true}
	for _, s := range g.Specs { // dependencies come first
		for _, e := range s.Deps {
			if e.Runtime() && found[e.On.Hash] {
				found[s.Hash] = true
			}
		}
	}
	return found
}

// hashes returns the hashes of those that a cache can hold.
func hashes(specs []*Spec) map[string]bool {
	set := map[string]bool{}
	for _, s := range specs {
		if !s.External {
			set[s.Hash] = true
		}
	}
	return set
}

// Env is an environment: the specs that it asks for.
type Env []*Spec

func (e Env) String() string {
	var names []string
	for _, s := range e {
		names = append(names, s.Name+"/"+s.Hash[:5])
	}
	return strings.Join(names, " ")
}

// text returns what make makes, and remembers it.
func (s *Spec) text(form string, make func() []byte) []byte {
	if text, ok := s.texts.Load(form); ok {
		return text.([]byte)
	}
	text := make()
	s.texts.Store(form, text)
	return text
}
