package history

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

const gitLog = `commit 1767600000

:000000 100644 0000000 aaaa A	container_definitions/amd64/x/spack.lock
commit 1767700000

:100644 100644 aaaa bbbb M	container_definitions/amd64/x/spack.lock
:000000 100644 0000000 aaaa A	y.spack.lock
commit 1767650000

:100644 000000 bbbb 0000000 D	container_definitions/amd64/x/spack.lock
:000000 100644 0000000 cccc A	broken.spack.lock
`

func TestAGitLogBecomesAHistory(t *testing.T) {
	changes, err := ParseGitLog(gitLog)
	if err != nil || len(changes) != 5 {
		t.Fatalf("got %+v, %v", changes, err)
	}
	if !changes[3].At.Equal(changes[2].At) || changes[3].Blob != "" {
		t.Errorf("a commit whose clock was behind: got %+v after %+v", changes[3], changes[2])
	}
	read := func(blob string) ([]byte, error) {
		env := map[string]string{"aaaa": "env-a", "bbbb": "env-b"}[blob]
		if env == "" {
			return []byte("{}"), nil
		}
		return os.ReadFile(filepath.Join("..", "..", "testdata", "spack", "v3-signed", "locks", env+".spack.lock"))
	}
	h, broken, err := FromLocks(changes, GuessedCost, read)
	if err != nil || h.Check() != nil || len(h.Events) != 4 || len(broken) != 1 {
		t.Fatalf("got %d events, broken %v, %v, %v", len(h.Events), broken, err, h.Check())
	}
	if h.Events[0].Environment != "container_definitions/amd64/x/spack.lock" || h.Events[2].Environment != "y.spack.lock" || len(h.Events[3].Roots) != 0 {
		t.Errorf("got %+v", h.Events)
	}
	if h.Events[0].Roots[0] != h.Events[2].Roots[0] {
		t.Error("the same lockfile has other roots")
	}
	for _, s := range h.Specs {
		if s.Name == "glibc" || s.Name == "gcc" {
			t.Errorf("%s is external, and counts", s.Name)
		}
	}
	for _, text := range []string{"commit now\n", ":100644 100644 M\tx\n", ":100644 100644 a b M x\n"} {
		if _, err := ParseGitLog(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	gone := errors.New("gone")
	if _, _, err := FromLocks(changes, GuessedCost, func(string) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("got %v of a blob that cannot be read", err)
	}
}

func TestUploadsBecomeAHistory(t *testing.T) {
	spec := func(h, name string, needs ...string) *buildcache.Spec {
		s := &buildcache.Spec{Hash: buildcache.Hash(h), Name: name}
		for _, n := range needs {
			s.Dependencies = append(s.Dependencies, buildcache.Dependency{Name: n, Hash: buildcache.Hash(n), Types: buildcache.Link})
		}
		return s
	}
	specs := map[buildcache.Hash]*buildcache.Spec{}
	uploaded := map[buildcache.Hash]time.Time{}
	for i, s := range []*buildcache.Spec{spec("lib", "lib"), spec("app1", "app", "lib"), spec("app2", "app", "lib"), spec("ext", "gcc")} {
		specs[s.Hash] = s
		uploaded[s.Hash] = start.AddDate(0, 0, 10-i)
	}
	specs["ext"].External = true
	h := FromUploads(specs, uploaded, GuessedCost)
	if err := h.Check(); err != nil || len(h.Events) != 2 || len(h.Specs) != 3 {
		t.Fatalf("got %+v, %v", h, err)
	}
	if first := h.Specs[h.Events[0].Roots[0]]; first.Hash != "app2" || h.Events[0].Environment != "app" || !h.Events[0].At.Equal(uploaded["app2"]) {
		t.Errorf("got %+v first", h.Events[0])
	}
}
