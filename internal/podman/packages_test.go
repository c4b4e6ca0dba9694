package podman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
)

// with returns a container that has a lockfile of the bundled cache.
func with(t *testing.T, name, lock string) Container {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(lockOfHello), lock+".spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	c := hello(t)
	c.Name = name
	if err := c.SetLock(text); err != nil {
		t.Fatal(err)
	}
	return c
}

// hashOf returns the hash of a container's package.
func hashOf(t *testing.T, c Container, name string) buildcache.Hash {
	t.Helper()
	for hash, spec := range c.Lock.Specs {
		if spec.Name == name {
			return hash
		}
	}
	t.Fatalf("%s has no %s", c.Name, name)
	return ""
}

func TestPackagesAreFoundOnceInFewLockfiles(t *testing.T) {
	a, b := with(t, "a", "env-a"), with(t, "b", "env-b")
	shared, ofA, ofB, ofB2 := hashOf(t, a, "qs-block"), hashOf(t, a, "qs-report"), hashOf(t, b, "qs-archive"), hashOf(t, b, "qs-server")
	found, err := FindPackages([]Container{a, b}, []string{string(ofA), string(shared[:8]), "/" + string(ofB), string(ofB2), string(shared)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range found {
		for _, hash := range p.Hashes {
			got[p.Container.Lock.Specs[hash].Name] += p.Container.Name
		}
	}
	want := map[string]string{"qs-block": "b", "qs-archive": "b", "qs-server": "b", "qs-report": "a"}
	if diff := cmp.Diff(want, got); diff != "" || len(found) != 2 {
		t.Errorf("%d builds: %s", len(found), diff)
	}
}

func TestAWrongHashIsExplained(t *testing.T) {
	a := with(t, "a", "env-a")
	twin := *a.Lock.Specs[hashOf(t, a, "qs-block")]
	twin.Hash = twin.Hash[:10] + "22222222222222222222aa"
	a.Lock.Specs[twin.Hash] = &twin
	for name, want := range map[string]string{
		"qs-block":                       "is no hash of a package",
		"abc":                            "is no hash of a package",
		"aaaaaaaa":                       "none of the lockfiles has a package with hash aaaaaaaa",
		string(hashOf(t, a, "gcc"))[:12]: "gcc@12.2.0/hpstb.* is external",
		string(twin.Hash[:8]):            "begins several hashes, give more of it: qs-block@2.0/",
	} {
		_, err := FindPackages([]Container{a}, []string{name})
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

// packagesOfHello are two packages, and a cache in which the second is missing.
func packagesOfHello(t *testing.T) (p Packages, cache, block string) {
	t.Helper()
	cache = t.TempDir()
	if err := os.CopyFS(cache, os.DirFS("../../testdata/spack/v3-unsigned/cache")); err != nil {
		t.Fatal(err)
	}
	c := hello(t)
	p = Packages{c, []buildcache.Hash{hashOf(t, c, "qs-hash"), hashOf(t, c, "qs-block")}}
	block = filepath.Join(cache, buildcache.SpecKeys(c.Lock.Specs[p.Hashes[1]], 3)[0])
	if err := os.Rename(block, block+".away"); err != nil {
		t.Fatal(err)
	}
	store, err := file.Open(cache)
	if err != nil {
		t.Fatal(err)
	}
	p.Container.Offer = gateway.Build{Mirrors: []gateway.Mirror{{Store: store}}, Push: &gateway.Destination{Store: store}}
	return p, cache, block
}

func outcomesOf(results []PackageResult) (list []string) {
	for _, r := range results {
		list = append(list, r.Package+" "+string(r.Outcome))
	}
	return list
}

func TestOnlyMissingPackagesAreBuiltAndNeverFromMemory(t *testing.T) {
	p, _, block := packagesOfHello(t)
	s, double := newScheduler(t)
	double.fails = func(line string) error {
		if strings.HasPrefix(line, "podman build ") {
			return os.Rename(block+".away", block) // as if it were built and handed over
		}
		return nil
	}
	results, err := s.BuildPackages(t.Context(), []Packages{p}, true)
	if want := []string{"qs-hash@1.2 in the build cache", "qs-block@2.0 to build"}; err != nil || !cmp.Equal(outcomesOf(results), want) || len(double.builds()) > 0 {
		t.Fatalf("dry: %v %v %v", outcomesOf(results), err, double.builds())
	}
	results, err = s.BuildPackages(t.Context(), []Packages{p}, false)
	if want := []string{"qs-hash@1.2 in the build cache", "qs-block@2.0 built"}; err != nil || !cmp.Equal(outcomesOf(results), want) {
		t.Fatalf("got %v %v", outcomesOf(results), err)
	}
	builds := double.builds()
	if len(builds) != 1 {
		t.Fatalf("got %v", builds)
	}
	for _, want := range []string{"--no-cache", "--layers=false", "--build-arg=STEP=packages", "--build-arg=KEEP_GOING=true", "--build-arg=HASHES=" + string(p.Hashes[1]) + " "} {
		if !strings.Contains(builds[0], want) {
			t.Errorf("no %s in %s", want, builds[0])
		}
	}
	results, err = s.BuildPackages(t.Context(), []Packages{p}, false)
	if err != nil || len(double.builds()) != 1 || results[1].Outcome != Present {
		t.Errorf("again: %v %v %v", outcomesOf(results), err, double.builds())
	}
}

func TestAPackageThatDoesNotArriveIsAFailure(t *testing.T) {
	p, _, _ := packagesOfHello(t)
	s, double := newScheduler(t)
	results, err := s.BuildPackages(t.Context(), []Packages{p}, false)
	if err == nil || !strings.Contains(err.Error(), "built, and not in the build cache: why is in ") || results[1].Outcome != Failed {
		t.Errorf("got %v %v", outcomesOf(results), err)
	}
	double.fails = func(line string) error {
		if strings.HasPrefix(line, "podman build ") {
			return errors.New("no")
		}
		return nil
	}
	results, err = s.BuildPackages(t.Context(), []Packages{p}, false)
	if err == nil || results[0].Outcome != Present || results[1].Outcome != Failed || results[1].Message == "" {
		t.Errorf("got %v %v", outcomesOf(results), err)
	}
}

// Several jobs may work on packages of one container in one checkout: none writes into what another
// builds from, into its log, or under the name of the container's own image.
func TestPackagesOfOneContainerDisturbNoOtherBuildOfIt(t *testing.T) {
	p, cache, _ := packagesOfHello(t)
	hash := filepath.Join(cache, buildcache.SpecKeys(p.Container.Lock.Specs[p.Hashes[0]], 3)[0])
	if err := os.Remove(hash); err != nil {
		t.Fatal(err)
	}
	s, double := newScheduler(t)
	contexts := map[string]bool{}
	double.fails = func(line string) error {
		if words := strings.Fields(line); words[1] == "build" {
			contexts[words[len(words)-1]] = true
			if strings.Contains(line, ":latest") {
				t.Errorf("it is named as the container's image is: %s", line)
			}
		}
		return nil
	}
	for _, hash := range p.Hashes {
		_, err := s.BuildPackages(t.Context(), []Packages{{p.Container, []buildcache.Hash{hash}}}, false)
		_, log, _ := strings.Cut(fmt.Sprint(err), "why is in ")
		if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "HASHES="+string(hash)) {
			t.Errorf("the log %q: %v", log, err)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(s.Work, "build", "hello", "linux", "*.log"))
	if len(contexts) != 2 || len(logs) != 2 {
		t.Errorf("built from %v, with the logs %v", contexts, logs)
	}
	for dir := range contexts {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s stays, though nothing failed in it", dir)
		}
	}
}

// unreadable is a build cache that lists and does not hand out.
type unreadable struct{ buildcache.Store }

func (unreadable) Get(context.Context, string) (io.ReadCloser, buildcache.Object, error) {
	return nil, buildcache.Object{}, errors.New("access denied")
}

func TestACacheThatCannotBeReadIsNoMissingPackage(t *testing.T) {
	p, _, _ := packagesOfHello(t)
	p.Container.Offer.Mirrors[0].Store = unreadable{p.Container.Offer.Mirrors[0].Store}
	s, double := newScheduler(t)
	if results, err := s.BuildPackages(t.Context(), []Packages{p}, false); err == nil || len(results) > 0 || len(double.builds()) > 0 {
		t.Errorf("got %v %v %v", outcomesOf(results), err, double.builds())
	}
}
