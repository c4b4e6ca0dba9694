package definition

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestShippedDefinitionsAreValid(t *testing.T) {
	defs, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range defs {
		got = append(got, d.Platform+" "+d.Name)
		if d.Kind == Environment {
			if _, err := d.Environment(Template("x86_64_v3")); err != nil {
				t.Error(err)
			}
		}
		if d.LockPath != "" {
			checkLockfile(t, d)
		}
		if strings.HasPrefix(d.Name, "neurodamus-") && d.Name != "neurodamus-neocortex-multiscale" && !strings.Contains(string(d.Epilogue), "gcc g++ make") {
			t.Errorf("%s ships no compilers", d.Name)
		}
	}
	want := []string{
		"linux/amd64 appositionizer",
		"linux/amd64 brain-indexer",
		"linux/amd64 brayns",
		"linux/amd64 connectome-manipulator",
		"linux/amd64 functionalizer",
		"linux/amd64 multiscale-run",
		"linux/amd64 neurodamus-hippocampus",
		"linux/amd64 neurodamus-neocortex",
		"linux/amd64 neurodamus-neocortex-multiscale",
		"linux/amd64 neurodamus-thalamus",
		"linux/amd64 nexus-storage",
		"linux/amd64 system-benchmarks",
		"linux/arm64 system-benchmarks",
		"linux/amd64 touchdetector",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shipped definitions (-want +got):\n%s", diff)
	}
}

// checkLockfile checks that the lockfile beside a definition is one of it.
func checkLockfile(t *testing.T, d Definition) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(d.Root, d.LockPath))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := buildcache.ParseLockfile(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Roots(lock); err != nil {
		t.Error(err)
	}
}
