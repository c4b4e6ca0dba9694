package whymiss

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// compare returns what differs between a spec and a cached one of its name: what does not follow
// from a dependency, the most telling first, and the dependencies that are missing themselves. Of
// these the cached one may have what is nearest to each; strange counts those where it has not.
func (e *explainer) compare(s, cached *buildcache.Spec) (own []Difference, through []buildcache.Hash, strange int) {
	own = differAlone(s, cached)
	edges, lost := differEdges(s.Dependencies, cached.Dependencies)
	for _, d := range edges {
		if f := e.findings[d.Hash]; f != nil {
			through = append(through, d.Hash)
			if !slices.ContainsFunc(lost, func(l buildcache.Dependency) bool { return f.nearest != nil && l.Hash == f.nearest.Hash }) {
				strange++
			}
			lost = slices.DeleteFunc(lost, func(l buildcache.Dependency) bool { return l.Name == d.Name })
			continue
		}
		own = append(own, e.edgeDifference(d, lost))
		lost = slices.DeleteFunc(lost, func(l buildcache.Dependency) bool { return l.Name == d.Name })
	}
	for _, l := range lost {
		own = append(own, Difference{Kind: e.edgeKind(l), What: "dependency " + l.Name, Cached: e.edgeText(l)})
	}
	slices.SortStableFunc(own, func(a, b Difference) int { return cmp.Compare(rank[a.Kind], rank[b.Kind]) })
	return own, through, strange
}

// rank is how telling a difference is. A recipe hashes differently for another version or variant,
// and dependencies follow from all of them.
var rank = map[Kind]int{Version: 1, Variant: 2, Target: 3, Compiler: 4, Flags: 5, Namespace: 6, PackageHash: 7, DependsOn: 8, Spliced: 9}

// differAlone compares all that a spec is beside its dependencies.
func differAlone(s, cached *buildcache.Spec) (found []Difference) {
	for _, f := range []struct {
		kind         Kind
		what         string
		wanted, have string
	}{
		{Version, "version", s.Version, cached.Version},
		{Target, "platform", s.Platform, cached.Platform},
		{Target, "operating system", s.OS, cached.OS},
		{Target, "target", s.Target, cached.Target},
		{Compiler, "compiler", s.Compiler, cached.Compiler},
		{Namespace, "namespace", s.Namespace, cached.Namespace},
		{PackageHash, "package hash", s.PackageHash, cached.PackageHash},
		{Spliced, "build spec", string(s.BuildSpec), string(cached.BuildSpec)},
	} {
		if f.wanted != f.have {
			found = append(found, Difference{f.kind, f.what, f.wanted, f.have})
		}
	}
	names := slices.Collect(maps.Keys(s.Parameters))
	names = slices.AppendSeq(names, maps.Keys(cached.Parameters))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		wanted, have := value(s.Parameters, name), value(cached.Parameters, name)
		if wanted == have {
			continue
		}
		if isFlags(name) {
			found = append(found, Difference{Flags, "flags " + name, wanted, have})
		} else {
			found = append(found, Difference{Variant, "variant " + name, variant(s.Parameters, name), variant(cached.Parameters, name)})
		}
	}
	return found
}

func isFlags(parameter string) bool {
	return slices.Contains([]string{"cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs"}, parameter)
}

// value is a parameter as text that is the same for the same value; empty where there is none. The
// order of a variant's values says nothing, that of flags does.
func value(parameters map[string]any, name string) string {
	v, ok := parameters[name]
	if !ok {
		return ""
	}
	if list, is := v.([]any); is && !isFlags(name) {
		v = sorted(list)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// sorted returns the values as text, in order.
func sorted(list []any) []string {
	var texts []string
	for _, v := range list {
		texts = append(texts, fmt.Sprint(v))
	}
	slices.Sort(texts)
	return texts
}

// variant is a parameter as people write it: +mpi, ~mpi, build_type=Debug.
func variant(parameters map[string]any, name string) string {
	switch v := parameters[name].(type) {
	case nil:
		return ""
	case bool:
		if v {
			return "+" + name
		}
		return "~" + name
	case []any:
		return name + "=" + strings.Join(sorted(v), ",")
	default:
		return fmt.Sprintf("%s=%v", name, v)
	}
}

// differEdges returns the edges that only one of two specs has.
func differEdges(wanted, have []buildcache.Dependency) (added, lost []buildcache.Dependency) {
	lost = slices.Clone(have)
	for _, d := range wanted {
		i := slices.IndexFunc(lost, func(l buildcache.Dependency) bool {
			return l.Name == d.Name && l.Hash == d.Hash && l.Types == d.Types && sameSet(l.Virtuals, d.Virtuals)
		})
		if i < 0 {
			added = append(added, d)
			continue
		}
		lost = slices.Delete(lost, i, i+1)
	}
	return added, lost
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// edgeDifference is about an edge that only the lockfile has, with what the nearest has instead.
func (e *explainer) edgeDifference(d buildcache.Dependency, lost []buildcache.Dependency) Difference {
	diff := Difference{Kind: e.edgeKind(d), What: "dependency " + d.Name, Wanted: e.edgeText(d)}
	for _, l := range lost {
		if l.Name != d.Name {
			continue
		}
		if diff.Cached = e.edgeText(l); diff.Cached == diff.Wanted { // the same spec for another reason
			diff.Wanted, diff.Cached = diff.Wanted+edgeWhy(d), diff.Cached+edgeWhy(l)
		}
		break
	}
	return diff
}

// edgeKind tells a compiler, which is a dependency since Spack 1.0, from others: what any spec of the
// lockfile is compiled with.
func (e *explainer) edgeKind(d buildcache.Dependency) Kind {
	if e.compilers == nil {
		e.compilers = map[string]bool{}
		for _, s := range e.lock.Specs {
			for _, d := range s.Dependencies {
				if compiles(d) {
					e.compilers[d.Name] = true
				}
			}
		}
	}
	if e.compilers[d.Name] || compiles(d) {
		return Compiler
	}
	return DependsOn
}

func compiles(d buildcache.Dependency) bool {
	return slices.ContainsFunc(d.Virtuals, func(v string) bool { return v == "c" || v == "cxx" || v == "fortran" })
}

func edgeWhy(d buildcache.Dependency) string {
	return fmt.Sprintf(" (%s%s)", d.Types, strings.Join(append([]string{""}, d.Virtuals...), " "))
}

// edgeText names what an edge leads to as well as it is known.
func (e *explainer) edgeText(d buildcache.Dependency) string {
	if s := e.lock.Specs[d.Hash]; s != nil {
		return s.String()
	}
	return cmp.Or(e.cached.text(d.Hash, d.Name), fmt.Sprintf("%s/%.7s", d.Name, d.Hash))
}

// A score is how far a cached spec is from one that is missing: by what differs itself, then by the
// dependencies that others explain, those first that are not the nearest ones.
type score struct{ own, strange, through int }

func (s score) before(t score) bool {
	return cmp.Or(cmp.Compare(s.own, t.own), cmp.Compare(s.strange, t.strange), cmp.Compare(s.through, t.through)) < 0
}

// weight makes a spec of the same version with another recipe nearer than another version.
var weight = map[Kind]int{Version: 8, Variant: 3, Target: 4, Compiler: 4, Flags: 3, Namespace: 4, PackageHash: 2, DependsOn: 2, Spliced: 2}

func scoreOf(own []Difference, through []buildcache.Hash, strange int) score {
	s := score{through: len(through), strange: strange}
	for _, d := range own {
		s.own += weight[d.Kind]
	}
	return s
}

// newer decides between two that are equally near: by version, then by hash, so that the same
// lockfile and index always have the same answer.
func newer(a, b *buildcache.Spec) bool {
	return cmp.Or(cmp.Compare(len(a.Version), len(b.Version)), cmp.Compare(a.Version, b.Version), -cmp.Compare(a.Hash, b.Hash)) > 0
}
