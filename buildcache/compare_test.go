package buildcache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestFindSignedTakesTheLocksOfSpack(t *testing.T) {
	for _, name := range []string{"v2-signed", "v3-signed"} {
		for _, env := range []string{"env-a", "env-b", "env-hello"} {
			l := readLock(t, name, env)
			c := open(t, testdata+name+"/cache", fixtureKeys(t))
			for _, s := range closure(l, allEdges) {
				p, err := c.FindSigned(t.Context(), s, l)
				if err != nil {
					t.Errorf("%s %s: %v", name, env, err)
				} else if p.SignedBy != fixtureKey {
					t.Errorf("%s: signed by %q", s, p.SignedBy)
				}
			}
		}
	}
}

// Each attack edits a lockfile and leaves every hash as it is: the signed cache must be what
// counts.
func TestFindSignedRefusesAnEditedLock(t *testing.T) {
	type node = map[string]any
	deps := func(n node) []any { d, _ := n["dependencies"].([]any); return d }
	params := func(n node) map[string]any { return n["parameters"].(map[string]any) }
	attacks := []struct {
		name string
		edit func(node)
		say  string
	}{
		{"name", func(n node) { n["name"] = "other" }, "name"},
		{"version", func(n node) { n["version"] = "99" }, `"99"`},
		{"namespace", func(n node) { n["namespace"] = "evil" }, "namespace"},
		{"target", func(n node) { n["arch"].(map[string]any)["target"] = "x86_64_v4" }, "target"},
		{"operating system", func(n node) { n["arch"].(map[string]any)["platform_os"] = "ubuntu24.04" }, "operating system"},
		{"a parameter changed", func(n node) { params(n)["build_system"] = "makefile" }, "build_system"},
		{"a parameter added", func(n node) { params(n)["debug"] = true }, "debug"},
		{"a parameter left out", func(n node) { delete(params(n), "cflags") }, "left out"},
		{"package hash", func(n node) { n["package_hash"] = "aaaa" }, "package hash"},
		{"dependency left out", func(n node) { n["dependencies"] = deps(n)[1:] }, "left out"},
		{"dependency of another type", func(n node) {
			deps(n)[0].(map[string]any)["parameters"].(map[string]any)["deptypes"] = []string{"test"}
		}, "not among those"},
		{"dependency twice", func(n node) { n["dependencies"] = append(deps(n), deps(n)[0]) }, "not among those"},
	}
	for _, name := range []string{"v2-signed", "v3-signed"} {
		text, err := os.ReadFile(testdata + name + "/locks/env-a.spack.lock")
		if err != nil {
			t.Fatal(err)
		}
		plain, err := buildcache.ParseLockfile(text)
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, testdata+name+"/cache", fixtureKeys(t))
		victim := plain.Closure([]buildcache.Hash{plain.Roots[1].Hash}, buildcache.Runtime)
		hash := victim[len(victim)-1].Hash // the root: it has dependencies
		for _, attack := range attacks {
			l := edit(t, text, hash, attack.edit)
			_, err := c.FindSigned(t.Context(), l.Specs[hash], l)
			if name == "v3-signed" && attack.name == "name" { // which is where layout v3 looks for it
				if !errors.Is(err, buildcache.ErrNotInCache) {
					t.Errorf("another name: got %v", err)
				}
				continue
			}
			if !errors.Is(err, buildcache.ErrSignature) || !strings.Contains(err.Error(), attack.say) {
				t.Errorf("%s: %s: got %v, want ErrSignature with %q", name, attack.name, err, attack.say)
			}
		}
		// A dependency that is made external is not looked for itself: what depends on it tells.
		for _, d := range plain.Specs[hash].Dependencies {
			if plain.Specs[d.Hash].External || d.Types&buildcache.Runtime == 0 {
				continue
			}
			l := edit(t, text, d.Hash, func(n node) { n["external"] = map[string]any{"path": "/mnt/evil"} })
			if _, err := c.FindSigned(t.Context(), l.Specs[hash], l); !errors.Is(err, buildcache.ErrSignature) || !strings.Contains(err.Error(), "external") {
				t.Errorf("%s: external dependency: got %v", name, err)
			}
		}
	}
}

func TestFindSignedWantsKeys(t *testing.T) {
	l := readLock(t, "v3-signed", "env-a")
	c := open(t, testdata+"v3-signed/cache", nil)
	if _, err := c.FindSigned(t.Context(), closure(l, buildcache.Runtime)[0], l); !errors.Is(err, buildcache.ErrSignature) {
		t.Errorf("got %v", err)
	}
}

// A spliced spec has its own dependencies, and the binary of another that it must be like.
func TestFindSignedComparesASplicedSpecWithItsBuildSpec(t *testing.T) {
	l := readLock(t, "v3-signed", "env-a")
	c := open(t, testdata+"v3-signed/cache", fixtureKeys(t))
	all := closure(l, buildcache.Runtime)
	built := all[len(all)-1]
	spliced := *built
	spliced.Hash, spliced.BuildSpec = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", built.Hash
	spliced.Dependencies = spliced.Dependencies[:1]
	l.Specs[spliced.Hash] = &spliced
	if _, err := c.FindSigned(t.Context(), &spliced, l); err != nil {
		t.Error(err)
	}
	spliced.Version = "99"
	if _, err := c.FindSigned(t.Context(), &spliced, l); !errors.Is(err, buildcache.ErrSignature) {
		t.Errorf("got %v, want ErrSignature", err)
	}
}

// edit changes one node of a lockfile.
func edit(t *testing.T, lock []byte, hash buildcache.Hash, change func(map[string]any)) *buildcache.Lockfile {
	t.Helper()
	var f map[string]any
	d := json.NewDecoder(bytes.NewReader(lock))
	d.UseNumber()
	if err := d.Decode(&f); err != nil {
		t.Fatal(err)
	}
	change(f["concrete_specs"].(map[string]any)[string(hash)].(map[string]any))
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	l, err := buildcache.ParseLockfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
