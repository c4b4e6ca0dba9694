package assemble

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
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

// More packages than layers: some layers are tarballs of our own making.
func TestManyPackagesShareLayers(t *testing.T) {
	size.Need(t, size.All) // some seconds
	mirror, lock := synthetic(t, 154, 1000)
	b := newBench(t, mirror)
	first := b.mustBuild(b.container(lock))
	if first.Layers != maxLayers || len(first.Packages) != 150 {
		t.Errorf("%d packages in %d layers, want 150 in %d", len(first.Packages), first.Layers, maxLayers)
	}
	tree := files(t, b.open(first))
	for _, spec := range first.Packages {
		if target := tree["opt/view/bin/"+spec.Name]; target == "" {
			t.Errorf("%s is not in the view", spec)
		} else if _, ok := tree[target[1:]]; !ok {
			t.Errorf("%s is not in the image", target)
		}
	}
	other := newBench(t, mirror)
	if second := other.mustBuild(other.container(lock)); second.Digest != first.Digest {
		t.Errorf("two folders, two digests: %s and %s", first.Digest, second.Digest)
	}
	if again := b.mustBuild(b.container(lock)); again.Fetched != 0 || again.Digest != first.Digest {
		t.Errorf("the second build fetched %d packages", again.Fetched)
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
