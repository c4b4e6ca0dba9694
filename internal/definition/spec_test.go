package definition

import (
	"slices"
	"strings"
	"testing"
)

func TestSpecNameKnowsSpacksSyntax(t *testing.T) {
	tests := map[string]string{
		"hdf5":                       "hdf5",
		"gmsh@4:":                    "gmsh",
		"pkg model=a ~b+c":           "pkg",
		"x%gcc@12":                   "x",
		"x %gcc@12":                  "x",
		"name@6.2 target=x":          "name",
		"builtin.name@1":             "name",
		"bluebrain.repo.name+mpi":    "name",
		"py-brain-indexer+mpi":       "py-brain-indexer",
		"py-numpy-quaternion ~numba": "py-numpy-quaternion",
		"zlib~shared":                "zlib",
		"zlib -shared":               "zlib",
		"zlib/abcdef":                "zlib",
		"hdf5^mpich":                 "hdf5",
		"hdf5 ^[virtuals=mpi] mpich": "hdf5",
		"a_b@=1.0":                   "a_b",
		"3proxy":                     "3proxy",
		"  spaced  ":                 "spaced",
		`flags cflags="-O3 -g"`:      "flags",
		"+mpi":                       "",
		"~mpi":                       "",
		"@1.2":                       "",
		"%gcc":                       "",
		"^mpich":                     "",
		"/abcdef":                    "",
		"target=x86_64":              "",
		"cflags==-O3":                "",
		"languages:=c":               "",
		"$packages":                  "",
		"./spec.json":                "",
		"":                           "",
	}
	for spec, want := range tests {
		if got := SpecName(spec); got != want {
			t.Errorf("SpecName(%q) = %q, want %q", spec, got, want)
		}
	}
}

func TestFirstRootFindsTheFirstSpecInAnyOrderAndSpelling(t *testing.T) {
	tests := []struct {
		name, specs string
		roots       []string
		want        int
	}{
		{"the same text", "[a+b, c]", []string{"c", "a+b"}, 1},
		{"other spaces", "['a  ~b', c]", []string{"c", "a ~b"}, 1},
		{"an open version", "['gmsh@4:']", []string{"occt", "gmsh@4:"}, 1},
		{"variants in Spack's order", "['pkg model=a ~b+c', 'pkg model=b ~b+c']", []string{"pkg+c~b model=b", "pkg+c~b model=a"}, 1},
		{"a variant with a minus", "['pkg -b', pkg+b]", []string{"pkg+b", "pkg~b"}, 1},
		{"a variant at a distance", "['pkg -b', pkg+b]", []string{"pkg+b", "pkg-b"}, 0}, // pkg-b is another package
		{"quoted flags", `['pkg cflags="-O3 -g" +a', pkg+a]`, []string{"pkg+a", `pkg+a cflags="-O3 -g"`}, 1},
		{"a compiler", "['x%gcc@12']", []string{"y", "x %gcc@12"}, 1},
		{"by the name only", "[hello-spack]", []string{"other", "hello-spack@1.1"}, 1},
		{"a namespace", "[builtin.zlib@1]", []string{"other", "zlib@1"}, 1},
		{"a target", "['name@6.2 target=x']", []string{"name@6.2 target=x", "name2"}, 0},
		{"anonymous, the same text", "[+mpi, '@1.2']", []string{"@1.2", "+mpi"}, 1},
		{"anonymous, alone", "[+mpi]", []string{"hdf5+mpi"}, 0},
		{"a hash", "[/abc, zlib]", []string{"zlib", "/abc"}, 1},
		{"a matrix", "[{matrix: [[b, a], [+x, +y]]}, c]", []string{"c", "b+x"}, 1},
		{"a list of definitions", "[$list, c]\n  definitions:\n    - other: [c]\n    - list: [$more]\n    - more: [b@2, a]", []string{"c", "b@2", "a"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := loadOne(t, in("spack:\n  specs: "+tt.specs+"\n"))
			got, err := d.FirstRoot(tt.roots)
			if err != nil || got != tt.want {
				t.Errorf("got %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

func TestFirstRootRefusesToGuess(t *testing.T) {
	tests := []struct {
		name, specs string
		roots       []string
	}{
		{"another package", "[a]", []string{"b"}},
		{"two of the package", "[a]", []string{"a@1", "a@2"}},
		{"anonymous among several", "[+mpi]", []string{"a", "b"}},
		{"no roots", "[a]", nil},
		{"lists that refer to each other", "[$x]\n  definitions:\n    - x: [$x]", []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := loadOne(t, in("spack:\n  specs: "+tt.specs+"\n"))
			_, err := d.FirstRoot(tt.roots)
			if err == nil {
				t.Fatal("no error")
			}
			for _, root := range tt.roots {
				if !strings.Contains(err.Error(), root) {
					t.Errorf("%q does not list the root %q", err, root)
				}
			}
		})
	}
}

func FuzzSpecName(f *testing.F) {
	for _, seed := range []string{"gmsh@4:", "pkg model=a ~b+c", "x%gcc@12", "builtin.name@1", "+mpi", "/abc", "target=x", `a cflags="-O2 -g"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		name := SpecName(spec)
		if strings.ContainsAny(name, " \t\n@+~%^/=\"'$.:[]") {
			t.Errorf("SpecName(%q) = %q holds a sigil", spec, name)
		}
		if again := SpecName(name); again != name {
			t.Errorf("SpecName(%q) = %q, of which the name is %q", spec, name, again)
		}
		if !sameParts(spec, spec) {
			t.Errorf("%q has not the parts of itself", spec)
		}
	})
}

func TestRootsStandInTheOrderOfTheDefinition(t *testing.T) {
	d := func(specs ...string) Definition { return Definition{Name: "x", Specs: specs} }
	for name, test := range map[string]struct {
		d     Definition
		roots []string
		want  []int
	}{
		"turned around":       {d("b", "a"), []string{"a", "b"}, []int{1, 0}},
		"two of a package":    {d("a@2", "a@1"), []string{"a@1", "a@2"}, []int{1, 0}},
		"written otherwise":   {d("a +x~y", "b%gcc@12"), []string{"b%gcc@12", "a~y+x"}, []int{1, 0}},
		"more than was named": {d("b"), []string{"z", "a", "b"}, []int{2, 1, 0}},
		"from a list":         {d("b", "$all"), []string{"c", "b", "a"}, []int{1, 2, 0}},
	} {
		got, err := test.d.Roots(test.roots)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, test.want)
		}
	}
	for name, test := range map[string]struct {
		d     Definition
		roots []string
		want  string
	}{
		"another version":   {d("a@9.9"), []string{"a@1.1"}, `it was made for "a@1.1", and x asks for "a@9.9"`},
		"not concretized":   {d("a", "zlib"), []string{"a"}, `spec "zlib" of x is not among its roots`},
		"second, otherwise": {d("a", "b@2"), []string{"a", "b@1"}, `it was made for "b@1"`},
	} {
		if _, err := test.d.Roots(test.roots); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
