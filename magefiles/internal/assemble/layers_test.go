package assemble

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestGroupsFillTheLayersAndNoMore(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n, limit := r.IntN(400), 1+r.IntN(120)
		packages := make([]payload, n)
		for i := range packages {
			packages[i].Spec = &buildcache.Spec{Name: fmt.Sprint(i)}
		}
		groups := group(packages, limit)
		if len(groups) != min(n, limit) {
			t.Fatalf("%d packages in %d layers of %d", n, len(groups), limit)
		}
		var flat []payload
		smallest, largest := n, 0
		for i, g := range groups {
			if len(g) == 0 || n <= limit && len(g) != 1 {
				t.Fatalf("%d packages, %d layers: layer %d holds %d", n, limit, i, len(g))
			}
			if i >= limit/2 && n > limit {
				smallest, largest = min(smallest, len(g)), max(largest, len(g))
			}
			flat = append(flat, g...)
		}
		if n > limit && largest-smallest > 1 {
			t.Fatalf("%d packages, %d layers: shared layers hold %d to %d", n, limit, smallest, largest)
		}
		same := func(a, b payload) bool { return a.Spec == b.Spec }
		if !slices.EqualFunc(flat, packages, same) {
			t.Fatalf("%d packages, %d layers: the groups do not hold them in order", n, limit)
		}
	}
}

func TestTheMostSharedPackagesComeFirst(t *testing.T) {
	link := func(to ...buildcache.Hash) []buildcache.Dependency {
		var deps []buildcache.Dependency
		for _, hash := range to {
			deps = append(deps, buildcache.Dependency{Hash: hash, Types: buildcache.Link})
		}
		return deps
	}
	specs := []*buildcache.Spec{
		{Name: "app", Hash: "a", Dependencies: link("l", "m")},
		{Name: "mpi", Hash: "m", Dependencies: link("z")},
		{Name: "lib", Hash: "l", Dependencies: append(link("z"), buildcache.Dependency{Hash: "c", Types: buildcache.Build})},
		{Name: "cmake", Hash: "c"},
		{Name: "zlib", Hash: "z"},
	}
	var packages []payload
	for _, s := range specs {
		packages = append(packages, payload{Spec: s})
	}
	var got []string
	for _, p := range bySharing(packages) {
		got = append(got, p.Spec.Name)
	}
	if want := []string{"zlib", "lib", "mpi", "app", "cmake"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestViewKeepsTheFirstOfTwoAndReportsTheOther(t *testing.T) {
	app := payload{Spec: &buildcache.Spec{Name: "app", Hash: "aaaaaaaa"}, contents: contents{Prefix: "/opt/software/app", Entries: []entry{
		{"bin", true}, {"bin/tool", false}, {"share", false}, {".spack", true}, {".spack/spec.json", false},
	}}}
	lib := payload{Spec: &buildcache.Spec{Name: "lib", Hash: "llllllll"}, contents: contents{Prefix: "/opt/software/lib", Entries: []entry{
		{"bin", true}, {"bin/tool", false}, {"bin/other", false}, {"share", true}, {"share/doc", false}, {".spack", true}, {".spack/spec.json", false},
	}}}
	entries, conflicts := makeView([]payload{app, lib})
	got := map[string]string{}
	for _, e := range entries {
		got[e.Path] = e.Target
	}
	want := map[string]string{
		".spack": "", ".spack/app": "", ".spack/lib": "",
		".spack/app/spec.json": "/opt/software/app/.spack/spec.json",
		".spack/lib/spec.json": "/opt/software/lib/.spack/spec.json",
		"bin":                  "", "bin/tool": "/opt/software/app/bin/tool", "bin/other": "/opt/software/lib/bin/other",
		"share": "/opt/software/app/share",
	}
	for path, target := range want {
		if at, ok := got[path]; !ok || at != target {
			t.Errorf("%s leads to %q, want %q", path, at, target)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the view holds %v", got)
	}
	var paths []string
	for _, c := range conflicts {
		if c.Kept.Name != "app" || c.Dropped.Name != "lib" {
			t.Errorf("conflict %v", c)
		}
		paths = append(paths, c.Path)
	}
	if want := []string{"bin/tool", "share", "share/doc"}; !slices.Equal(paths, want) {
		t.Errorf("conflicts at %q, want %q", paths, want)
	}
}
