package definition

import (
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
	})
}
