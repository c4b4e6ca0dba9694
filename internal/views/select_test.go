package views

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// testdata/selected.json has, for two lockfiles of testdata/spack, the packages that satisfy specs
// with dependencies, as Spack 0.23.0 and 1.3.0.dev0 say by Spec.satisfies, which select and exclude
// go by.
func TestDependenciesSelectAsInSpack(t *testing.T) {
	text, err := os.ReadFile("testdata/selected.json")
	if err != nil {
		t.Fatal(err)
	}
	var selected map[string]map[string][]buildcache.Hash // by lockfile and spec
	if err := json.Unmarshal(text, &selected); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, bySpec := range selected {
		lock, err := buildcache.ReadLockfile(filepath.Join("../../testdata/spack", filepath.Dir(name), "locks", filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		for spec, want := range bySpec {
			v := Default("/opt/view")
			v.Select = []string{spec}
			var got []buildcache.Hash
			for _, hash := range slices.Sorted(maps.Keys(lock.Specs)) {
				ok, err := v.selects(lock, lock.Specs[hash])
				if err != nil {
					t.Errorf("%s: %s: %v", name, spec, err)
				}
				if ok {
					got = append(got, hash)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s:\ngot  %v\nwant %v", name, spec, got, want)
			}
			compared++
		}
	}
	if compared < 180 {
		t.Errorf("compared %d specs", compared)
	}
}

func TestWhatCannotBeToldOfADependencyIsAnError(t *testing.T) {
	lock, err := buildcache.ReadLockfile("../../testdata/spack/v3-unsigned/locks/env-a.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	v := Default("/opt/view")
	v.Exclude = []string{"^[when=+tls] qs-tls"}
	if specs, err := v.Order(lock, []buildcache.Hash{lock.Roots[0].Hash}); err == nil || !strings.Contains(err.Error(), "build with podman") {
		t.Errorf("got %d specs, %v", len(specs), err)
	}
}
