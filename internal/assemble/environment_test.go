package assemble

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What "spack env activate --sh" prints of the same environment, of which qs-vendor is external,
// is what the image has. Left out is what Spack adds of /usr, which is found without, and the order
// of what no package of the environment has, and what only recipes know: ZZ_RUN_HOME.
func TestTheEnvironmentIsThatOfSpackEnvActivate(t *testing.T) {
	v2, v3 := filepath.Join(fixtures, "v2-unsigned"), filepath.Join(fixtures, "v3-unsigned")
	for _, c := range []struct{ name, cache, lock string }{
		{"0.23.0", v2 + "/cache", v2 + "/locks/env-a.spack.lock"},
		{"1.2.0.dev0", v3 + "/cache", v3 + "/locks/env-a.spack.lock"},
		{"1.3.0.dev0", v3 + "/cache", v3 + "/locks/env-a.spack.lock"},
		{"python-1.3", "testdata/python-1.3/cache", "testdata/python-1.3/spack.lock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := activated(t, filepath.Join("testdata/activate", c.name+".sh"))
			delete(want, "ZZ_RUN_HOME")
			b := newBench(t, c.cache)
			c := b.container(c.lock)
			base := baseLayout(t, amd64, "opt/qs/vendor/qs-vendor", "opt/qs/vendor/qs-vendor/bin", "opt/qs/vendor/qs-vendor/include",
				"opt/qs/vendor/qs-vendor/lib", "opt/qs/vendor/qs-vendor/lib/pkgconfig", "opt/qs/vendor/qs-vendor/share", "opt/qs/vendor/qs-vendor/share/man")
			var err error
			if c.Base, err = OpenBase(t.Context(), nil, "oci:"+base, amd64); err != nil {
				t.Fatal(err)
			}
			config, err := b.open(b.mustBuild(c)).ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, assignment := range config.Config.Env {
				name, value, _ := strings.Cut(assignment, "=")
				got[name] = value
			}
			delete(got, "LANG") // the base's
			for name := range want {
				if order := name == "PATH" || name == "CMAKE_PREFIX_PATH"; folders(got[name], order) != folders(want[name], order) {
					t.Errorf("%s=%s, Spack has %s", name, got[name], want[name])
				}
			}
			for name := range got {
				if _, ok := want[name]; !ok {
					t.Errorf("Spack does not set %s=%s", name, got[name])
				}
			}
		})
	}
}

// activated returns the variables that a script of Spack's sets.
func activated(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if assignment, ok := strings.CutPrefix(line, "export "); ok {
			name, value, _ := strings.Cut(strings.TrimSuffix(assignment, ";\n"), "=")
			set[name] = value
		}
	}
	if len(set) < 7 {
		t.Fatalf("%s sets %d variables", name, len(set))
	}
	return set
}

// folders returns a search path without those of the system, sorted unless the order counts.
func folders(value string, order bool) string {
	parts := slices.DeleteFunc(strings.Split(value, ":"), func(p string) bool {
		return p == "/bin" || p == "/usr" || strings.HasPrefix(p, "/usr/")
	})
	if !order {
		slices.Sort(parts)
	}
	return strings.Join(parts, ":")
}
