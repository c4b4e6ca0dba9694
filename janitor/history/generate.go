package history

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Generated says how a history is made up.
type Generated struct {
	Seed     uint64
	Start    time.Time
	Weeks    int // 52 if 0
	PerWeek  int // events a week, on average; 5 if 0
	Branches int // weeks for which a branch that builds an old state lives; 3 if 0
}

// Generate makes up what may happen to environments that begin with these lockfiles. In each week
// some are built again for one of these reasons:
//   - a package of one environment has a new version or recipe (4 of 10), mostly one near its roots;
//   - a package has, for all environments that hold it (2 of 10): package repositories moved;
//   - an environment goes back to a state that it had (1 of 10), more likely a recent one;
//   - a branch builds such a state, and is gone after some weeks (3 of 10).
//
// A package that changes gives all that needs it another hash, as in Spack. cost is asked for the
// packages of the lockfiles; a changed package costs about as much as before.
func Generate(locks map[string]*buildcache.Lockfile, cost Cost, how Generated) History {
	if how.Weeks == 0 {
		how.Weeks = 52
	}
	if how.PerWeek == 0 {
		how.PerWeek = 5
	}
	if how.Branches == 0 {
		how.Branches = 3
	}
	g := generator{Builder: Builder{Cost: cost}, how: how, rand: rand.New(rand.NewPCG(how.Seed, 52)), states: map[string][][]int{}}
	g.names = slices.Sorted(maps.Keys(locks))
	for _, name := range g.names {
		g.happens(how.Start, name, g.Lock(locks[name]))
	}
	g.years()
	slices.SortStableFunc(g.Events, func(a, b Event) int { return a.At.Compare(b.At) })
	return g.History
}

type generator struct {
	Builder
	how    Generated
	rand   *rand.Rand
	names  []string
	states map[string][][]int // roots that each environment has had; the last one is that of now
	copies int
}

// happens makes an event of new roots of an environment.
func (g *generator) happens(at time.Time, environment string, roots []int) {
	g.states[environment] = append(g.states[environment], roots)
	g.Events = append(g.Events, Event{at, environment, roots})
}

func (g *generator) now(environment string) []int {
	all := g.states[environment]
	return all[len(all)-1]
}

func (g *generator) years() {
	const week = 7 * 24 * time.Hour
	for w := range g.how.Weeks {
		n := g.rand.IntN(2*g.how.PerWeek + 1)
		for k := range n {
			at := g.how.Start.Add(time.Duration(w)*week + time.Duration(k+1)*week/time.Duration(n+1))
			environment := g.names[g.rand.IntN(len(g.names))]
			switch d := g.rand.IntN(10); {
			case d < 4:
				g.happens(at, environment, g.change(g.pick(environment, 0.7), map[int]int{}, g.now(environment)))
			case d < 6:
				g.changeAll(at, g.pick(environment, 0.3))
			case d < 7:
				g.happens(at, environment, g.old(environment))
			default:
				g.copies++
				branch := fmt.Sprintf("%s, branch %d", environment, g.copies)
				g.Events = append(g.Events, Event{at, branch, g.old(environment)},
					Event{at.Add(time.Duration(1+g.rand.IntN(2*g.how.Branches-1)) * week), branch, nil})
			}
		}
	}
}

// old returns a state that an environment has had: the one before the last one more likely than
// each before it.
func (g *generator) old(environment string) []int {
	all := g.states[environment]
	back := int(g.rand.ExpFloat64()*4) + 1
	return all[max(0, len(all)-1-back)]
}

// pick chooses a package of an environment: with some probability a root or what roots need
// themselves, else any.
func (g *generator) pick(environment string, near float64) int {
	roots := g.now(environment)
	if g.rand.Float64() >= near {
		all := g.closure(roots)
		return all[g.rand.IntN(len(all))]
	}
	top := slices.Clone(roots)
	for _, r := range roots {
		for _, n := range g.Specs[r].Needs {
			top = append(top, n.Spec)
		}
	}
	return top[g.rand.IntN(len(top))]
}

// closure returns all that roots need, themselves too, ascending.
func (g *generator) closure(roots []int) []int {
	seen := map[int]bool{}
	var visit func(int)
	visit = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		for _, n := range g.Specs[i].Needs {
			visit(n.Spec)
		}
	}
	for _, r := range roots {
		visit(r)
	}
	return slices.Sorted(maps.Keys(seen))
}

// changeAll changes a package for all environments that hold it.
func (g *generator) changeAll(at time.Time, spec int) {
	renamed := map[int]int{}
	for _, environment := range g.names {
		roots := g.now(environment)
		if slices.Contains(g.closure(roots), spec) {
			g.happens(at, environment, g.change(spec, renamed, roots))
		}
	}
}

// change returns the roots where a spec is another one, and all that needs it is built on that.
func (g *generator) change(spec int, renamed map[int]int, roots []int) []int {
	if _, done := renamed[spec]; !done {
		renamed[spec] = g.again(spec, func(i int) int { return i })
		if g.rand.IntN(2) == 0 {
			g.Specs[renamed[spec]].Version += ".1"
		}
	}
	for _, i := range g.closure(roots) {
		if _, done := renamed[i]; done || !slices.ContainsFunc(g.Specs[i].Needs, func(n Need) bool { _, new := renamed[n.Spec]; return new }) {
			continue
		}
		renamed[i] = g.again(i, func(need int) int {
			if new, ok := renamed[need]; ok {
				return new
			}
			return need
		})
	}
	out := slices.Clone(roots)
	for i, r := range roots {
		if new, ok := renamed[r]; ok {
			out[i] = new
		}
	}
	return out
}

// again adds a spec that is like another one and has a hash of its own.
func (g *generator) again(like int, need func(int) int) int {
	s := g.Specs[like]
	s.Hash = randomHash(g.rand)
	s.Size = int64(float64(s.Size) * (0.95 + 0.1*g.rand.Float64()))
	s.Seconds *= 0.9 + 0.2*g.rand.Float64()
	s.Needs = slices.Clone(s.Needs)
	for i := range s.Needs {
		s.Needs[i].Spec = need(s.Needs[i].Spec)
	}
	g.Specs = append(g.Specs, s)
	return len(g.Specs) - 1
}

func randomHash(r *rand.Rand) buildcache.Hash {
	var b strings.Builder
	for range 32 {
		b.WriteByte("abcdefghijklmnopqrstuvwxyz234567"[r.IntN(32)])
	}
	return buildcache.Hash(b.String())
}

// hours are packages that everyone who has built them remembers, in minutes on a few cores.
var hours = map[string]float64{
	"llvm": 90, "gcc": 75, "rust": 60, "node-js": 40, "paraview": 90, "vtk": 45, "qt": 90, "qt-base": 30, "boost": 12, "cmake": 10,
	"openblas": 10, "mesa": 15, "mpich": 10, "openmpi": 12, "hdf5": 5, "petsc": 15, "trilinos": 90, "perl": 5, "python": 6, "openssl": 6,
	"ospray": 10, "openvkl": 15, "ispc": 10, "py-numpy": 4, "py-scipy": 12, "py-pandas": 10, "py-numba": 5, "arrow": 15, "gdal": 12,
}

// GuessedCost makes up what a package costs where nobody has measured it: by its name, so that it is
// the same everywhere. Half of all take less than 40 s to build, of Python packages less than 15 s; a
// few take hours. What takes long is big, but only roughly: a size varies by a factor of three either
// way.
func GuessedCost(s *buildcache.Spec) (size int64, seconds float64, estimated bool) {
	sum := fnv.New64a()
	sum.Write([]byte(s.Name)) // never fails
	r := rand.New(rand.NewPCG(sum.Sum64(), 1))
	median := 40.0
	if strings.HasPrefix(s.Name, "py-") {
		median = 15
	}
	seconds = median * math.Exp(1.2*r.NormFloat64())
	if minutes, ok := hours[s.Name]; ok {
		seconds = 60 * minutes
	}
	size = int64(2e6 * math.Pow(seconds/40, 0.6) * math.Exp(1.1*r.NormFloat64()))
	return max(10_000, size), seconds, true
}
