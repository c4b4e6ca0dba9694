package definition

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
)

// lockOf returns a lockfile whose roots have these texts. Each node is what its text asks for, and
// no more; a text may name another one's node behind " => ".
func lockOf(t *testing.T, version int, roots ...string) *buildcache.Lockfile {
	t.Helper()
	nodes := map[string]any{}
	var list []any
	hash := func() string { return fmt.Sprintf("%032d", len(nodes)) }
	digits := strings.NewReplacer("0", "a", "1", "b", "8", "c", "9", "d")
	var node func(s abstract.Spec) string
	node = func(s abstract.Spec) string {
		parameters := map[string]any{}
		for _, v := range s.Variants {
			switch v.Value {
			case "true", "false":
				parameters[v.Key] = v.Value == "true"
			default:
				parameters[v.Key] = strings.Split(v.Value, ",")
			}
		}
		at, _, _ := strings.Cut(strings.TrimPrefix(s.Versions, "="), ":")
		at, _, _ = strings.Cut(at, ",")
		if at == "" {
			at = "1.0"
		}
		n := map[string]any{"name": s.Name, "version": at, "namespace": "builtin", "parameters": parameters,
			"arch": map[string]any{"platform": "linux", "platform_os": "debian12", "target": "x86_64_v3"}}
		if version <= 5 {
			n["compiler"] = map[string]any{"name": "gcc", "version": "12.2.0"}
		}
		var deps []any
		for _, d := range s.Dependencies {
			if d.Direct && version <= 5 {
				continue
			}
			deps = append(deps, map[string]any{"name": d.Spec.Name, "hash": node(d.Spec), "parameters": map[string]any{"deptypes": []string{"link"}, "virtuals": append([]string{}, d.Virtuals...)}})
		}
		h := digits.Replace(hash())
		n["hash"], n["dependencies"] = h, deps
		nodes[h] = n
		return h
	}
	for _, text := range roots {
		text, becomes, ok := strings.Cut(text, " => ")
		if !ok {
			becomes = text
		}
		spec, err := abstract.Parse(becomes, version <= 5)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, map[string]any{"spec": text, "hash": node(spec)})
	}
	text, err := json.Marshal(map[string]any{
		"_meta": map[string]any{"file-type": "spack-lockfile", "lockfile-version": version, "specfile-version": 4},
		"spack": map[string]any{"version": "0.23.0", "type": "release"}, "roots": list, "concrete_specs": nodes,
	})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func TestRootsAreMatchedByMeaning(t *testing.T) {
	for _, test := range []struct {
		name, specs string
		roots       []string
		want        []int
	}{
		{"the same text", "[a+b, c]", []string{"c", "a+b"}, []int{1, 0}},
		{"other spaces", "['a  ~b', c]", []string{"c", "a ~b"}, []int{1, 0}},
		{"an open version", "['gmsh@4:', occt]", []string{"occt", "gmsh@4: => gmsh@4.11"}, []int{1, 0}},
		{"variants in Spack's order", "['pkg model=a ~b+c', 'pkg model=b ~b+c']", []string{"pkg+c~b model=b", "pkg+c~b model=a"}, []int{1, 0}},
		{"a variant with a minus", "['pkg -b', pkg+b]", []string{"pkg+b", "pkg~b"}, []int{1, 0}},
		{"quoted flags", `['pkg cflags="-O3 -g" +a', pkg+a]`, []string{"pkg+a", `pkg+a cflags="-O3 -g"`}, []int{1, 0}},
		{"a compiler before a variant", "['x%gcc@12+a', y]", []string{"y", "x+a%gcc@12"}, []int{1, 0}},
		{"by the package", "[hello]", []string{"hello@1.1"}, []int{0}},
		{"a namespace", "[builtin.zlib@1]", []string{"zlib@1"}, []int{0}},
		{"a hash", "[/caa, zlib]", []string{"zlib", "/caa => b"}, nil},
		{"dependencies in another order", "['a ^c@2 ^b', d]", []string{"d", "a ^b ^c@2"}, []int{1, 0}},
		{"a list of versions", "['a@2.0,1.1', b]", []string{"b", "a@1.1,2.0"}, []int{1, 0}},
		{"a range of one", "['a@2.0:2.0', b]", []string{"b", "a@2.0"}, []int{1, 0}},
		{"a spec twice", "[a, b, b, 'a ']", []string{"b", "a"}, []int{1, 0}},
		{"a boolean written out", "[a mpi=True, b]", []string{"b", "a+mpi"}, []int{1, 0}},
		{"values in another order", "['a langs=c,b', x]", []string{"x", "a langs=b,c"}, []int{1, 0}},
		{"an arch in one", "['a arch=linux-debian12-x86_64_v3', b]", []string{"b", "a platform=linux os=debian12 target=x86_64_v3 => a"}, []int{1, 0}},
		{"nothing in between", "[a, null, ~, b]", []string{"b", "a"}, []int{1, 0}},
		{"groups", "[{group: t, specs: [b]}, {group: u, needs: [t], matrix: [[a], [+x, ~x]]}]", []string{"a+x", "b", "a~x"}, []int{1, 0, 2}},
		{"a matrix under unify: false", "[{matrix: [[a, b], [+x, ~x]]}]", []string{"b~x", "b+x", "a~x", "a+x"}, []int{3, 2, 1, 0}},
		{"a matrix with dependencies", "[{matrix: [[a], [^c], [+x]]}]", []string{"a+x ^c"}, []int{0}},
		{"a matrix that excludes", "[{matrix: [[a, b], [+x, ~x]], exclude: [a~x]}]", []string{"b~x", "b+x", "a+x"}, []int{2, 1, 0}},
		{"a list", "[$list, c]\n  definitions:\n    - other: [c]\n    - list: [$more]\n    - more: [b@2, a]", []string{"c", "b@2", "a"}, []int{1, 2, 0}},
		{"a list of dependencies", "[{matrix: [[a], [$^mpis]]}]\n  definitions:\n    - mpis: [mpich, openmpi]", []string{"a ^openmpi", "a ^mpich"}, []int{1, 0}},
		{"a list of compilers", "[{matrix: [[a], [$%gccs]]}]\n  definitions:\n    - gccs: [gcc@12]", []string{"a%gcc@12"}, []int{0}},
		{"a list under a condition", "[a, $more]\n  definitions:\n    - more: [b]\n      when: arch.satisfies(\"x\")", []string{"b", "a"}, []int{1, 0}},
		{"an included environment", "[b]\n  include_concrete: [https://example.org/x]", []string{"z", "a", "b"}, []int{2, 1, 0}},
		{"by what it became", "['a@1.2:', b]", []string{"b", "a@1.4 => a@1.4.1"}, []int{1, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want == nil {
				t.Skip()
			}
			d := loadOne(t, in("spack:\n  specs: "+test.specs+"\n"))
			got, err := d.Roots(lockOf(t, 5, test.roots...))
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestALockfileOfSomethingElseIsToldAsThat(t *testing.T) {
	for _, test := range []struct {
		specs string
		roots []string
		want  string
	}{
		{"['a@9.9']", []string{"a@1.1"}, `it was made for "a@1.1", which became a@1.1/`},
		{"['a@1.2:1.3']", []string{"a@1.4"}, "concretize again"},
		{"['a@=1.2']", []string{"a@1.2.1"}, "concretize again"},
		{"[a, zlib]", []string{"a"}, `spec "zlib" of x is not among its roots`},
		{"[a, 'b@2']", []string{"a", "b@1"}, `it was made for "b@1"`},
		{"[a]", []string{"b"}, `spec "a" of x is not among its roots`},
		{"[a]", []string{"a", "b"}, `its root "b" is asked for by no spec of x: concretize again`},
		{"[a+mpi]", []string{"a~mpi"}, `it was made for "a~mpi"`},
		{"[a+mpi]", []string{"a"}, `it was made for "a"`},
		{"['a target=zen4']", []string{"a"}, `it was made for "a"`},
		{"['a%clang']", []string{"a%gcc"}, `it was made for "a%gcc"`},
		{"['a ^c@2']", []string{"a ^c@1"}, `it was made for "a ^c@1"`},
		{"['a ^mpich']", []string{"a"}, `it was made for "a"`},
		{"[{matrix: [[a], [+x, ~x]]}]", []string{"a+x"}, `spec "a ~x" of x is not among its roots`},
		{"[other.a]", []string{"a"}, "concretize again"},
	} {
		d := loadOne(t, in("spack:\n  specs: "+test.specs+"\n"))
		if got, err := d.Roots(lockOf(t, 5, test.roots...)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s with %q: got %v, %v", test.specs, test.roots, got, err)
		}
	}
}

func TestSpecsThatCannotBeOneAreRefused(t *testing.T) {
	for _, text := range []string{"zlib@@1.2", "hdf5+", "zlib hdf5", "a ^", "a@1.2@1.3", "a^[virtuals=mpi mpich", "a=", "zlib @", "hdf5 (mpi)", "a & b"} {
		_, errs := load(t, in("spack:\n  specs: ["+fmt.Sprintf("%q", text)+"]\n"))
		if len(errs) != 1 || !strings.Contains(errs.Error(), "spack.yaml:2:11: no spec: ") {
			t.Errorf("%q: got %v", text, errs)
		}
	}
}
