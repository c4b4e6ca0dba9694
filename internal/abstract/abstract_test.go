package abstract

import (
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func parse(t *testing.T, text string, legacy bool) Spec {
	t.Helper()
	s, err := Parse(text, legacy)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpecsThatAskForTheSameAreTheSame(t *testing.T) {
	for _, test := range []struct {
		a, b   string
		legacy bool
		want   bool
	}{
		{"a ^b ^c@2", "a ^c@2 ^b", false, true},
		{"a@2.0,1.1", "a@1.1,2.0", false, true},
		{"a@2.0:2.0", "a@2.0", false, true},
		{"a@=2.0", "a@2.0", false, false},
		{"a+x~y", "a ~y +x", false, true},
		{"a -x", "a~x", false, true},
		{"a-x", "a~x", false, false},
		{"a x=true", "a+x", false, true},
		{"a ++x", "a +x", false, false},
		{"a x=b,c", "a x=c,b", false, true},
		{"a x:=b", "a x=b", false, false},
		{`a cflags="-O2 -g"`, "a cflags='-O2  -g'", false, true},
		{`a cflags="-O2 -g"`, `a cflags="-g -O2"`, false, false},
		{"a arch=linux-debian12-zen4", "a target=zen4 os=debian12 platform=linux", false, true},
		{"a%gcc@12+x", "a+x%gcc@12", true, true},
		{"a%gcc@12+x", "a+x%gcc@12", false, false},
		{"a ^b %gcc", "a %gcc ^b", false, false},
		{"a ^[virtuals=mpi] mpich", "a ^mpi=mpich", false, true},
		{"a@1.2: target=x", "a@1.2:target=x", false, true},
		{"builtin.a", "a", false, false},
	} {
		if got := Same(parse(t, test.a, test.legacy), parse(t, test.b, test.legacy)); got != test.want {
			t.Errorf("%s and %s: same is %t", test.a, test.b, got)
		}
	}
}

func TestVersionsAreInRangesAsSpackHasThem(t *testing.T) {
	for _, test := range []struct {
		version, list string
		want          Answer
	}{
		{"1.2.3", "1.2", Yes}, {"1.20", "1.2", No}, {"1.2", "1.2.0", No}, {"1.2.3", "=1.2", No}, {"1.2", "=1.2", Yes},
		{"1.2.3", "1.2:", Yes}, {"1.1", "1.2:", No}, {"1.3.9", ":1.3", Yes}, {"1.4", ":1.3", No}, {"1.2", "1.2.0:", No},
		{"1.5", "1.2:1.3,1.5", Yes}, {"1.4", "1.2:1.3,1.5", No}, {"2", ":", Yes}, {"10", "9:", Yes},
		{"1.2rc1", "1.2:", Maybe}, {"develop", "1:", Maybe}, {"develop", "develop", Yes}, {"1.2", "develop:", Maybe}, {"git.abc=1.2", "1.2", Maybe},
	} {
		if got := versionIn(test.version, test.list); got != test.want {
			t.Errorf("%s in %s: got %d, want %d", test.version, test.list, got, test.want)
		}
	}
}

// What is asked of nodes of env-a, answered by Spack 1.3.0.dev0.
func TestNodesSatisfyWhatSpackSaysTheyDo(t *testing.T) {
	lock, err := buildcache.ReadLockfile("../../testdata/spack/v3-unsigned/locks/env-a.spack.lock")
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]*buildcache.Spec{}
	for _, node := range lock.Specs {
		nodes[node.Name] = node
	}
	for _, test := range []struct {
		text, node string
		want       Answer
	}{
		{"qs-hash@: ^gcc-runtime@12 %gcc", "qs-hash", Yes},
		{"qs-codegen ^quickstart.qs-lex %gcc", "qs-codegen", Yes},
		{"qs-report@:", "qs-report", Yes},
		{"quickstart.qs-tls ^gcc-runtime@1.0,12.2 %gcc", "qs-tls", Yes},
		{"qs-hash ^glibc arch=linux-debian12-x86_64_v3", "qs-hash", Yes},
		{"quickstart.qs-net@:", "qs-net", Yes},
		{"qs-config@0.9:1.2", "qs-config", Yes},
		{"qs-lex@:1.0", "qs-lex", Yes},
		{"qs-net@:2", "qs-net", Yes},
		{"qs-report@:1.1 ^qs-client %gcc", "qs-report", Yes},
		{"gcc-runtime@2,1.1 ^gcc -libsanitizer target=x86_64_v3", "gcc-runtime", No},
		{"qs-lex ^gcc@:2.0 -binutils target=x86_64_v3 %gcc@=1", "qs-lex", No},
		{"gcc-runtime@1.0 ^gcc", "gcc-runtime", No},
		{"qs-lex@: ^gcc~libsanitizer~nvptx", "qs-lex", No},
		{"gcc~nvptx -bootstrap target=x86_64_v3 ^qs-vendor", "gcc", No},
		{"qs-hash ^compiler-wrapper@=1 target=x86_64_v3", "qs-hash", No},
		{"qs-net@3.3,4.3 ^gcc+strip mold=true", "qs-net", No},
		{"qs-report@1.2,2 ^qs-net", "qs-report", No},
		{"gcc@1.0 target=x86_64_v3 ^qs-tls@:", "gcc", No},
		{"qs-server@1.0:1 platform=linux ^quickstart.glibc", "qs-server", No},
		{"qs-client ^qs-codegen", "qs-client", No}, // a tool that its dependencies are built with
	} {
		if got := parse(t, test.text, false).Satisfied(lock, nodes[test.node]); got != test.want {
			t.Errorf("%s for %s: got %d, want %d", test.text, test.node, got, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"a@1.2:+x~y z=b ^c%gcc@12", `a cflags="-O2 -g" /abc`, "a ^[virtuals=mpi,when=+x] mpich", "a%c,cxx=gcc@12 +x", "@git.main=1.2", "b.a ++x z:==1", "* ^a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, legacy := range []bool{false, true} {
			s, err := Parse(text, legacy)
			if err != nil {
				continue
			}
			if !Same(s, s) || s.Includes(s) != Yes {
				t.Errorf("%q is not the same as itself", text)
			}
			if both, ok := s.Constrain(s); ok && both.Includes(s) != Yes {
				t.Errorf("%q twice asks for less than once", text)
			}
		}
	})
}
