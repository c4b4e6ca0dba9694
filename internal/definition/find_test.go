package definition

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// several is what the tests below look in.
func several(t *testing.T) []Definition {
	t.Helper()
	defs, errs := load(t, map[string]string{
		"container_definitions/amd64/brain-indexer.yaml": "spack: {specs: [py-brain-indexer+mpi, py-numpy-quaternion ~numba]}\n",
		"container_definitions/arm64/brain-indexer.yaml": "spack: {specs: [py-brain-indexer+mpi]}\n",
		"container_definitions/amd64/neocortex.yaml":     "spack: {specs: [models model=neocortex, py-neurodamus]}\n",
		"container_definitions/amd64/thalamus.yaml":      "spack: {specs: [models model=thalamus, py-neurodamus, hdf5]}\n",
		"container_definitions/amd64/hdf5-tools.yaml":    "spack: {specs: [hdf5@1.14]}\n",
		"container_definitions/amd64/py-neurodamus.yaml": "spack: {specs: [neuron]}\n",
	})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return defs
}

func TestFindGoesByNameThenFirstSpecThenAnySpec(t *testing.T) {
	defs := several(t)
	tests := []struct {
		name, query string
		only, want  []string
	}{
		{"the name", "brain-indexer", nil, []string{"brain-indexer linux/amd64", "brain-indexer linux/arm64"}},
		{"a platform", "brain-indexer", []string{"linux/arm64"}, []string{"brain-indexer linux/arm64"}},
		{"the first spec", "py-brain-indexer", nil, []string{"brain-indexer linux/amd64", "brain-indexer linux/arm64"}},
		{"another spec", "py-numpy-quaternion", nil, []string{"brain-indexer linux/amd64", "brain-indexer linux/arm64"}},
		{"a first spec before another", "hdf5", nil, []string{"hdf5-tools linux/amd64"}},
		{"a name before a spec", "py-neurodamus", nil, []string{"py-neurodamus linux/amd64"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := Find(defs, tt.query, tt.only...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range found {
				got = append(got, d.Name+" "+d.Platform)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindRefuses(t *testing.T) {
	defs := several(t)
	tests := []struct {
		name, query string
		only        []string
		want        string
	}{
		{"a spec of several", "models", nil, `"models" is in several containers: name one of "neocortex" or "thalamus"`},
		{"a slip", "brain-indxer", nil, `no container "brain-indxer": did you mean "brain-indexer"?`},
		{"a part", "cortex", nil, `no container "cortex": did you mean "neocortex"?`},
		{"a slip in a package", "neurno", nil, `no container "neurno": did you mean "neuron"?`},
		{"a stranger", "zzz", nil, `no container "zzz": known are brain-indexer, hdf5-tools, neocortex, py-neurodamus, thalamus`},
		{"nothing", "", nil, `no container "": known are brain-indexer, hdf5-tools, neocortex, py-neurodamus, thalamus`},
		{"another platform", "neocortex", []string{"linux/arm64"}, `container "neocortex" is not defined for linux/arm64, only for linux/amd64`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Find(defs, tt.query, tt.only...)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := Find(nil, "x"); err == nil || err.Error() != `no container "x": there are none` {
		t.Errorf("got %v of no definitions", err)
	}
}

func TestLookupFindsWhatHasMistakes(t *testing.T) {
	const mistake = "pakages: {}\n"
	defs, errs := load(t, map[string]string{
		"container_definitions/amd64/good.yaml":          "spack: {specs: [zlib]}\n",
		"container_definitions/amd64/broken.yaml":        "spack: {specs: [hdf5+mpi, szip]}\n" + mistake,
		"container_definitions/amd64/half.yaml":          "spack: {specs: [mpich]}\n",
		"container_definitions/arm64/half.yaml":          "spack: {specs: [mpich]}\n" + mistake,
		"container_definitions/amd64/locked/spack.yaml":  "spack: {specs: [gmsh]}\n",
		"container_definitions/amd64/locked/spack.lock/": "",
		"container_definitions/amd64/yml.yml":            "",
	})
	tests := []struct {
		name, query string
		only        []string
		valid       int
		mistakes    string
	}{
		{"a good one", "good", nil, 1, ""},
		{"its name", "broken", nil, 0, "container_definitions/amd64/broken.yaml:2:1"},
		{"its first spec", "hdf5", nil, 0, "container_definitions/amd64/broken.yaml:2:1"},
		{"any of its specs", "szip", nil, 0, "container_definitions/amd64/broken.yaml:2:1"},
		{"the good platform", "mpich", []string{"linux/amd64"}, 1, ""},
		{"the other platform", "half", []string{"linux/arm64"}, 0, "container_definitions/arm64/half.yaml:2:1"},
		{"both platforms", "half", nil, 1, "container_definitions/arm64/half.yaml:2:1"},
		{"a mistake in another of its files", "gmsh", nil, 0, "container_definitions/amd64/locked/spack.lock: is no file"},
		{"a file that is not read", "yml", nil, 0, "container_definitions/amd64/yml.yml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			valid, mistakes, err := Lookup(defs, errs, tt.query, tt.only...)
			if err != nil {
				t.Fatal(err)
			}
			if got := mistakes.Error(); len(valid) != tt.valid || !strings.HasPrefix(got, tt.mistakes) || (got == "") != (tt.mistakes == "") {
				t.Errorf("got %d valid ones and the mistakes %q", len(valid), got)
			}
		})
	}
	if _, _, err := Lookup(defs, errs, "brokn"); err == nil || err.Error() != `no container "brokn": did you mean "broken"?` {
		t.Errorf("got %v", err)
	}
}
