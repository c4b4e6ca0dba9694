// Package whymiss explains why packages of a lockfile would be built although build caches are full:
// for each spec that is missing the nearest cached one of its name and what differs, reduced to the
// few differences that all others follow from.
//
// It goes by the lockfile and the indexes alone: no package recipes, no Spack, no network. What it
// says of differences is exact. Why somebody changed a recipe or chose another version stands in
// neither, so it does not say that.
package whymiss

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Report says what would be built, and why.
type Report struct {
	Cached  int       `json:"cached"` // specs that are taken from a cache
	Missing []Missing `json:"missing"`
	Causes  []Cause   `json:"causes"` // those that most specs miss for first
}

// A Missing spec would be built: it is in no cache, and what is installed needs it.
type Missing struct {
	Spec   string          `json:"spec"` // name@version/hash
	Hash   buildcache.Hash `json:"hash"`
	Causes []int           `json:"causes"` // positions in Report.Causes; it is built as long as one of them stands
}

// A Kind is what sort of difference comes first in a cause.
type Kind string

// The kinds of causes. The first differences are listed first.
const (
	Unknown     Kind = "unknown package" // no spec of the name is cached
	NotPushed   Kind = "not pushed"      // an index has this very spec, the cache does not hold its binary
	Version     Kind = "version"
	Variant     Kind = "variant"
	Target      Kind = "target" // or platform, or operating system
	Compiler    Kind = "compiler"
	Flags       Kind = "flags"
	PackageHash Kind = "package hash" // the recipe, its patches or its sources
	Namespace   Kind = "namespace"
	DependsOn   Kind = "dependency" // on another spec that is cached, or external
	Spliced     Kind = "splice"
	Unexplained Kind = "hash" // only the hash differs: it covers something that is not compared here
)

// A Cause is a difference that follows from no other one.
type Cause struct {
	Kind        Kind         `json:"kind"`
	Specs       []string     `json:"specs"`       // those that differ themselves, name@version/hash
	Nearest     []Nearest    `json:"nearest"`     // the nearest cached one of each of Specs; none of a kind Unknown
	Differences []Difference `json:"differences"` // the same for all of Specs, the most telling first
	Misses      int          `json:"misses"`      // specs that are built for it: Specs, and what needs them
	Alone       int          `json:"alone"`       // those of them that are built for nothing else
}

// A Nearest is the cached spec that is most like one that is missing.
type Nearest struct {
	Spec     string           `json:"spec"`
	Hash     buildcache.Hash  `json:"hash"`
	Uploaded string           `json:"uploaded,omitempty"` // YYYY-MM-DD, where the caller has found it out
	Found    *buildcache.Spec `json:"-"`
}

// A Difference is one value that is not the same.
type Difference struct {
	Kind   Kind   `json:"kind"`
	What   string `json:"what"`             // such as "version", "variant mpi", "dependency zlib"
	Wanted string `json:"wanted,omitempty"` // by the lockfile; empty: it is not there
	Cached string `json:"cached,omitempty"` // in the nearest; empty: it is not there
}

// Explain says why specs of a lockfile are in none of the caches of an index.
func Explain(lock *buildcache.Lockfile, cached *Index) (Report, error) {
	e := explainer{lock: lock, cached: cached, findings: map[buildcache.Hash]*finding{}}
	missing, hits := e.walk()
	for _, s := range missing {
		f, err := e.examine(s)
		if err != nil {
			return Report{}, fmt.Errorf("why %s misses: %w", s, err)
		}
		e.findings[s.Hash] = f
	}
	return e.report(missing, hits), nil
}

// An explainer collects what is found out about each spec that is missing.
type explainer struct {
	lock      *buildcache.Lockfile
	cached    *Index
	findings  map[buildcache.Hash]*finding
	compilers map[string]bool // names of what specs of the lockfile are compiled with; nil at first
}

// A finding is what was found out about a spec that is missing.
type finding struct {
	spec    *buildcache.Spec
	nearest *buildcache.Spec
	own     []Difference      // that do not follow from those of a dependency
	through []buildcache.Hash // dependencies that are missing, too, and that the nearest has otherwise
}

// walk returns what would be built, dependencies first, and how many specs are taken from the
// caches. What is cached needs only what it links and runs with.
func (e *explainer) walk() (missing []*buildcache.Spec, hits int) {
	seen := map[buildcache.Hash]bool{}
	var visit func(buildcache.Hash)
	visit = func(h buildcache.Hash) {
		s := e.lock.Specs[h]
		if s == nil || seen[h] {
			return
		}
		seen[h] = true
		if s.External {
			return
		}
		hit := e.cached.Has(s.BinaryHash())
		for _, d := range s.Dependencies {
			if d.Types&buildcache.Runtime != 0 || !hit && d.Types&buildcache.Build != 0 {
				visit(d.Hash)
			}
		}
		if hit {
			hits++
		} else {
			missing = append(missing, s)
		}
	}
	for _, r := range e.lock.Roots {
		visit(r.Hash)
	}
	return missing, hits
}

// examine compares a spec that is missing with the nearest one.
func (e *explainer) examine(s *buildcache.Spec) (*finding, error) {
	f := &finding{spec: s}
	if e.cached.Knows(s.BinaryHash()) {
		f.own = []Difference{{Kind: NotPushed, What: "binary"}}
		return f, nil
	}
	candidates, err := e.cached.Named(s.Name)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		f.own = []Difference{{Kind: Unknown, What: "name"}}
		return f, nil
	}
	best := score{}
	for _, c := range candidates {
		own, through, strange := e.compare(s, c)
		if now := scoreOf(own, through, strange); f.nearest == nil || now.before(best) || now == best && newer(c, f.nearest) {
			best, f.nearest, f.own, f.through = now, c, own, through
		}
	}
	if len(f.own)+len(f.through) == 0 {
		f.own = []Difference{{Kind: Unexplained, What: "hash", Wanted: string(s.Hash), Cached: string(f.nearest.Hash)}}
	}
	return f, nil
}

// report reduces what was found to causes.
func (e *explainer) report(missing []*buildcache.Spec, hits int) Report {
	r := Report{Cached: hits, Missing: []Missing{}, Causes: []Cause{}}
	number := map[string]int{} // of causes, by what makes two the same
	causes := map[buildcache.Hash][]int{}
	for _, s := range missing { // dependencies first, so that theirs are known
		f := e.findings[s.Hash]
		var all []int
		if len(f.own) > 0 {
			all = append(all, r.add(f, number))
		}
		for _, h := range f.through {
			all = append(all, causes[h]...)
		}
		slices.Sort(all)
		causes[s.Hash] = slices.Compact(all)
		for _, c := range causes[s.Hash] {
			r.Causes[c].Misses++
			if len(causes[s.Hash]) == 1 {
				r.Causes[c].Alone++
			}
		}
	}
	order := make([]int, len(r.Causes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.Causes[b].Misses, r.Causes[a].Misses) })
	place, sorted := make([]int, len(order)), make([]Cause, len(order))
	for to, from := range order {
		place[from], sorted[to] = to, r.Causes[from]
	}
	r.Causes = sorted
	for _, s := range missing {
		m := Missing{Spec: s.String(), Hash: s.Hash, Causes: []int{}}
		for _, c := range causes[s.Hash] {
			m.Causes = append(m.Causes, place[c])
		}
		slices.Sort(m.Causes)
		r.Missing = append(r.Missing, m)
	}
	return r
}

// add returns the number of the cause that a finding is of: a new one, or one that another spec has
// too, such as the target of all.
func (r *Report) add(f *finding, number map[string]int) int {
	key := string(f.spec.Hash)
	if shared(f.own) {
		key = fmt.Sprintf("%q", f.own)
	}
	at, ok := number[key]
	if !ok {
		at = len(r.Causes)
		number[key] = at
		r.Causes = append(r.Causes, Cause{Kind: f.own[0].Kind, Differences: f.own})
	}
	c := &r.Causes[at]
	c.Specs = append(c.Specs, f.spec.String())
	if f.nearest != nil {
		c.Nearest = append(c.Nearest, Nearest{Spec: f.nearest.String(), Hash: f.nearest.Hash, Found: f.nearest})
	}
	return at
}

// shared reports whether the same differences in two packages have one cause. The same version, or
// a new recipe, of two packages is chance; the same target or variant was decided once for all.
func shared(differences []Difference) bool {
	return !slices.ContainsFunc(differences, func(d Difference) bool {
		return d.Kind == Version || d.Kind == PackageHash || d.Kind == Unexplained || d.Kind == Spliced
	})
}
