package assemble

import (
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

const (
	appHash   = "a23456a23456a23456a23456a23456a2"
	libHash   = "l23456l23456l23456l23456l23456l2"
	otherHash = "o23456o23456o23456o23456o23456o2"
)

// pair is a program and a library that it links, and the lockfile of both.
func pair(app, lib distribution) (*buildcache.Lockfile, []payload) {
	one := &buildcache.Spec{Name: "app", Version: "1", Hash: appHash, Dependencies: []buildcache.Dependency{{Name: "lib", Hash: libHash, Types: buildcache.Link}}}
	two := &buildcache.Spec{Name: "lib", Version: "1", Hash: libHash}
	lock := &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{appHash: one, libHash: two}}
	packages := []payload{{Spec: one}, {Spec: two}}
	for i, d := range []distribution{app, lib} {
		packages[i].contents = contents{distribution: &d, At: strings.TrimPrefix(d.prefix(), "/")}
	}
	return lock, packages
}

func TestPackagesStayOrAreRelocated(t *testing.T) {
	prefixes := func(lib string) map[buildcache.Hash]string { return map[buildcache.Hash]string{libHash: lib} }
	for name, test := range map[string]struct {
		app, lib distribution
		at       [2]string
		moved    [2]bool
	}{
		"both in place": {
			distribution{Tree: "/opt/software", Relative: "l/app-1-" + appHash, Prefixes: prefixes("/opt/software/l/lib-1-" + libHash)}, distribution{Tree: "/opt/software", Relative: "l/lib-1-" + libHash},
			[2]string{"/opt/software/l/app-1-" + appHash, "/opt/software/l/lib-1-" + libHash}, [2]bool{false, false},
		},
		"the library is elsewhere than it was": {
			distribution{Tree: "/opt/software", Relative: "l/app-1-" + appHash, Prefixes: prefixes("/opt/software/pad/l/lib-1-" + libHash)}, distribution{Tree: "/opt/software", Relative: "l/lib-1-" + libHash},
			[2]string{"/opt/software/l/app-1-" + appHash, "/opt/software/l/lib-1-" + libHash}, [2]bool{true, false},
		},
		"another tree": {
			distribution{Tree: "/home/u/opt", Relative: "l/app-1-" + appHash, Prefixes: prefixes("/home/u/opt/l/lib-1-" + libHash)}, distribution{Tree: "/home/u/opt", Relative: "l/lib-1-" + libHash},
			[2]string{"/opt/software/l/app-1-" + appHash, "/opt/software/l/lib-1-" + libHash}, [2]bool{true, true},
		},
		"a padded part of ours": {
			distribution{Tree: "/opt/software/pad", Relative: "app", Prefixes: prefixes("/opt/software/pad/lib")}, distribution{Tree: "/opt/software/pad", Relative: "lib"},
			[2]string{"/opt/software/pad/app", "/opt/software/pad/lib"}, [2]bool{false, false},
		},
		"a tree that begins as ours": {
			distribution{Tree: "/opt/software2", Relative: "app"}, distribution{Tree: "/opt/software", Relative: "lib"},
			[2]string{"/opt/software/app", "/opt/software/lib"}, [2]bool{true, false},
		},
	} {
		lock, packages := pair(test.app, test.lib)
		if err := place(lock, packages); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, p := range packages {
			if p.Prefix != test.at[i] || (p.relocation != nil) != test.moved[i] {
				t.Errorf("%s: %s at %s, relocated %v, want %s, %v", name, p.Spec, p.Prefix, p.relocation != nil, test.at[i], test.moved[i])
			}
		}
	}
}

func TestPrefixesThatAreNotAPackagesOwnAreRefused(t *testing.T) {
	good := distribution{Tree: "/opt/software", Relative: "l/lib-1-" + libHash}
	for name, test := range map[string]struct {
		app  distribution
		want string
	}{
		"the whole tree":             {distribution{Tree: "/opt/software", Relative: "."}, "is not in /opt/software"},
		"out of the tree":            {distribution{Tree: "/opt/software", Relative: "../../etc"}, "is not in /opt/software"},
		"out of another tree":        {distribution{Tree: "/home/u", Relative: "../../etc"}, "is not in /opt/software"},
		"around another package":     {distribution{Tree: "/opt/software", Relative: "l"}, "around /opt/software/l/lib-1-"},
		"in another package":         {distribution{Tree: "/opt/software", Relative: "l/lib-1-" + libHash + "/share"}, "around /opt/software/l/lib-1-"},
		"in the place of another":    {distribution{Tree: "/opt/software", Relative: "l/lib-1-" + libHash}, "are both at"},
		"around sbang":               {distribution{Tree: "/opt/software", Relative: "bin"}, "bin/sbang"},
		"another's, by a long way":   {distribution{Tree: "/opt/software/x/..", Relative: "l/./lib-1-" + libHash}, "are both at"},
		"another's, of another tree": {distribution{Tree: "/home/u", Relative: "l/lib-1-" + libHash}, "are both at"},
	} {
		lock, packages := pair(test.app, good)
		if err := place(lock, packages); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "@1/") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A spliced package whose prefix does not have its hash could not be told from
// the original.
func TestASplicedPackageNeedsAPrefixOfItsOwn(t *testing.T) {
	spec := &buildcache.Spec{Name: "app", Version: "1", Hash: appHash, BuildSpec: otherHash}
	if _, err := newPrefix(spec, contents{distribution: &distribution{Tree: "/opt/software", Relative: "app-1"}}); err == nil || !strings.Contains(err.Error(), "spliced") {
		t.Errorf("got %v", err)
	}
	got, err := newPrefix(spec, contents{distribution: &distribution{Tree: "/opt/software", Relative: "app-1-" + otherHash}})
	if want := "/opt/software/app-1-" + appHash; got != want || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// What a dependency was built as: the same package, or the provider of the
// same virtual packages.
func TestTheAnalogOfASplicedDependency(t *testing.T) {
	dep := func(name string, hash buildcache.Hash, virtuals ...string) buildcache.Dependency {
		return buildcache.Dependency{Name: name, Hash: hash, Types: buildcache.Link, Virtuals: virtuals}
	}
	specs := []*buildcache.Spec{
		{Name: "app", Version: "1", Hash: "new", BuildSpec: "old", Dependencies: []buildcache.Dependency{dep("mpich", "mpich", "mpi"), dep("zlib", "zlib2"), dep("same", "same")}},
		{Name: "app", Version: "1", Hash: "old", Dependencies: []buildcache.Dependency{dep("openmpi", "openmpi", "mpi", "mpi-x"), dep("zlib", "zlib1"), dep("same", "same"), dep("blas", "blas", "blas")}},
		{Name: "mpich", Version: "4", Hash: "mpich"}, {Name: "openmpi", Version: "5", Hash: "openmpi"}, {Name: "same", Version: "1", Hash: "same"},
		{Name: "zlib", Version: "1.2", Hash: "zlib1"}, {Name: "zlib", Version: "1.3", Hash: "zlib2"}, {Name: "blas", Version: "1", Hash: "blas"}, {Name: "stray", Version: "1", Hash: "stray"},
	}
	lock := &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{}}
	for _, s := range specs {
		lock.Specs[s.Hash] = s
	}
	for hash, want := range map[buildcache.Hash]buildcache.Hash{"mpich": "openmpi", "zlib2": "zlib1", "same": "same", "stray": "stray", "new": "old"} {
		if got := analog(lock, specs[0], lock.Specs[hash]); got != want {
			t.Errorf("%s was built as %s, want %s", hash, got, want)
		}
	}
	if got := analog(lock, specs[1], lock.Specs["zlib1"]); got != "zlib1" {
		t.Errorf("of a package that is not spliced: %s", got)
	}
}

// Spack lists one of several hard links: all of them are the same file.
func TestAFileIsRelocatedUnderAnyNameOfIts(t *testing.T) {
	p := payload{contents: contents{Files: []views.File{{Path: "bin/one"}, {Path: "bin/two", Same: "bin/one"}, {Path: "bin/other"}}}}
	if got := p.listed([]string{"bin/two"}); !got["bin/one"] || len(got) != 1 {
		t.Errorf("got %v", got)
	}
}
