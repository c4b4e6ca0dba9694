package views

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// testdata/orders.json has, for lockfiles of testdata/spack, the order in which
// Spack's own traversal (traverse_nodes, order="topo") visits the specs of a
// view, externals left out.
func TestSpecsAreInSpacksOrder(t *testing.T) {
	text, err := os.ReadFile("testdata/orders.json")
	if err != nil {
		t.Fatal(err)
	}
	checkOrders(t, text, func(name string) string {
		return filepath.Join("../../testdata/spack", filepath.Dir(name), "locks", filepath.Base(name))
	})
}

func checkOrders(t *testing.T, text []byte, find func(string) string) {
	t.Helper()
	var orders map[string]map[string]map[Link][]buildcache.Hash // by Spack's version, lockfile and link
	if err := json.Unmarshal(text, &orders); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for version, locks := range orders {
		for name, byLink := range locks {
			lock, err := buildcache.ReadLockfile(find(name))
			if err != nil {
				t.Fatal(err)
			}
			lock.Spack.Version = version
			var roots []buildcache.Hash
			for _, root := range lock.Roots {
				roots = append(roots, root.Hash)
			}
			for link, want := range byLink {
				v := Default("/opt/view")
				v.Link = link
				var got []buildcache.Hash
				specs, err := v.Order(lock, roots)
				if err != nil {
					t.Fatal(err)
				}
				for _, spec := range specs {
					got = append(got, spec.Hash)
				}
				if !slices.Equal(got, want) {
					t.Errorf("Spack %s, %s, link: %s:\ngot  %v\nwant %v", version, name, link, got, want)
				}
				compared++
			}
		}
	}
	if compared < 12 {
		t.Errorf("compared %d orders", compared)
	}
}

// The newest of a runtime stays, in the place where it is.
func TestOnlyTheNewestRuntimeIsInAView(t *testing.T) {
	specs := func(names ...string) []*buildcache.Spec {
		var out []*buildcache.Spec
		for _, name := range names {
			n, v, _ := bytes.Cut([]byte(name), []byte("@"))
			out = append(out, &buildcache.Spec{Name: string(n), Version: string(v)})
		}
		return out
	}
	got := newestRuntimes(specs("app@1", "gcc-runtime@9.4.0", "lib@1", "gcc-runtime@12.2.0", "lib@2", "gcc-runtime@10.1"))
	want := specs("app@1", "lib@1", "gcc-runtime@12.2.0", "lib@2")
	if fmt.Sprint(deref(got)) != fmt.Sprint(deref(want)) {
		t.Errorf("got %v, want %v", deref(got), deref(want))
	}
}

func deref(specs []*buildcache.Spec) []string {
	var out []string
	for _, s := range specs {
		out = append(out, s.Name+"@"+s.Version)
	}
	return out
}
