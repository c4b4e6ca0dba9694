package janitor_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What follows knows nothing of the janitor's code: it walks raw JSON, and
// says what a reader of a cache would find.

type edgeMap map[string][]struct {
	hash  string
	types []string
}

type cacheView struct {
	installable map[string]bool            // spec file or manifest, and all that it names
	indexed     map[string]map[string]bool // by index: hashes it has as cached
	edges       edgeMap
	refs        map[string]map[string]int
	stale       bool     // v2: the checksum of the index is not that of the index
	loose       []string // tarballs and blobs that nothing names
}

var hashAtEnd = regexp.MustCompile(`-([a-z2-7]{32})\.(spack|spec\.json|spec\.json\.sig|spec\.manifest\.json)$`)

func view(t testing.TB, objects map[string]string) cacheView {
	t.Helper()
	v := cacheView{installable: map[string]bool{}, indexed: map[string]map[string]bool{}, edges: edgeMap{}, refs: map[string]map[string]int{}}
	named := map[string]bool{}
	tarballs := map[string]string{}
	for key := range objects {
		if m := hashAtEnd.FindStringSubmatch(key); m != nil && m[2] == "spack" {
			tarballs[m[1]] = key
		}
	}
	for key, text := range objects {
		m := hashAtEnd.FindStringSubmatch(key)
		switch {
		case key == "build_cache/index.json":
			v.index(t, key, text)
			sum := sha256.Sum256([]byte(text))
			v.stale = hex.EncodeToString(sum[:]) != objects[key+".hash"]
		case strings.HasSuffix(key, ".manifest.json"):
			whole := true
			for _, blob := range blobsOf(t, text) {
				path := "blobs/sha256/" + blob[:2] + "/" + blob
				named[path] = true
				_, ok := objects[path]
				whole = whole && ok
				if strings.HasSuffix(key, "index.manifest.json") {
					if !ok {
						t.Errorf("%s names an index that is not there", key)
					}
					v.index(t, key, objects[path])
				}
			}
			if m != nil && whole {
				v.installable[m[1]] = true
			}
		case m != nil && strings.HasPrefix(m[2], "spec.json"):
			if tarball, ok := tarballs[m[1]]; ok {
				named[tarball] = true
				v.installable[m[1]] = true
			}
		}
	}
	for key := range objects {
		if (strings.HasPrefix(key, "blobs/") || strings.HasSuffix(key, ".spack")) && !named[key] {
			v.loose = append(v.loose, key)
		}
	}
	slices.Sort(v.loose)
	return v
}

func blobsOf(t testing.TB, manifest string) (sums []string) {
	t.Helper()
	from, to := strings.Index(manifest, "{"), strings.LastIndex(manifest, "}")
	var m struct{ Data []struct{ Checksum string } }
	if err := json.Unmarshal([]byte(manifest[from:to+1]), &m); err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Data {
		sums = append(sums, d.Checksum)
	}
	return sums
}

type rawNode struct {
	Dependencies []struct {
		Hash       string
		Parameters struct{ Deptypes []string }
	}
	External any
}

func (e edgeMap) add(hash string, n rawNode) {
	if _, ok := e[hash]; ok {
		return
	}
	e[hash] = nil
	for _, d := range n.Dependencies {
		e[hash] = append(e[hash], struct {
			hash  string
			types []string
		}{d.Hash, d.Parameters.Deptypes})
	}
}

func (v cacheView) index(t testing.TB, key, text string) {
	t.Helper()
	var x struct {
		Database struct {
			Installs map[string]struct {
				Spec         rawNode
				RefCount     int  `json:"ref_count"`
				InBuildcache bool `json:"in_buildcache"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		t.Fatal(err)
	}
	v.indexed[key], v.refs[key] = map[string]bool{}, map[string]int{}
	count := map[string]int{}
	for hash, r := range x.Database.Installs {
		v.edges.add(hash, r.Spec)
		v.refs[key][hash] = r.RefCount
		if r.InBuildcache {
			v.indexed[key][hash] = true
		}
		for _, d := range r.Spec.Dependencies {
			count[d.Hash]++
			if _, ok := x.Database.Installs[d.Hash]; !ok {
				t.Errorf("%s: %s needs %s, of which the index knows nothing", key, hash, d.Hash)
			}
		}
	}
	for hash, n := range v.refs[key] {
		if count[hash] != n {
			t.Errorf("%s: ref_count of %s is %d, want %d", key, hash, n, count[hash])
		}
	}
}

// lockClosure returns what a lockfile needs that is no external: all its
// nodes, or the runtime closure of its roots.
func lockClosure(t testing.TB, runtimeOnly bool, files ...string) []string {
	t.Helper()
	need := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var l struct {
			Roots    []struct{ Hash string }
			Concrete map[string]rawNode `json:"concrete_specs"`
		}
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		edges := edgeMap{}
		for hash, n := range l.Concrete {
			edges.add(hash, n)
		}
		var visit func(string)
		visit = func(hash string) {
			if need[hash] || l.Concrete[hash].External != nil {
				return
			}
			need[hash] = true
			for _, e := range edges[hash] {
				if !runtimeOnly || slices.Contains(e.types, "link") || slices.Contains(e.types, "run") {
					visit(e.hash)
				}
			}
		}
		for _, r := range l.Roots {
			visit(r.Hash)
		}
	}
	return slices.Sorted(maps.Keys(need))
}

func lockPath(cache, env string) string {
	return filepath.Join("..", "testdata", "spack", cache, "locks", env+".spack.lock")
}

// noHoles makes sure that no index names what is not there.
func (v cacheView) noHoles(t testing.TB, when string) {
	t.Helper()
	for key, hashes := range v.indexed {
		for hash := range hashes {
			if !v.installable[hash] {
				t.Errorf("%s: %s has %s as cached, but its objects are not there", when, key, hash)
			}
		}
	}
}
