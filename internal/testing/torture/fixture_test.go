package torture

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The caches that real Spack has made.
const spackMade = "../../../testdata/spack"

// TestTheOracleReadsWhatSpackMade: each spec file and manifest of the real caches is about the hash
// in its key, needs only what is there or is external, and the index names exactly those.
func TestTheOracleReadsWhatSpackMade(t *testing.T) {
	for _, name := range []string{"v2-signed", "v2-unsigned", "v3-signed", "v3-unsigned"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(Setting{}, &Graph{}, nil)
			dir := filepath.Join(spackMade, name, "cache")
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				body, err := os.ReadFile(path)
				key, _ := filepath.Rel(dir, path)
				w.place(filepath.ToSlash(key), body, 0)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			specs := map[string]bool{}
			for hash := range w.oracle.byHash {
				s, _ := w.oracle.spec(hash)
				if s == nil || s.hash != hash {
					t.Errorf("%s is not read: %v", hash, s)
					continue
				}
				specs[hash] = true
				if n := len(w.oracle.objects(hash, true)); n != 2+btoi(strings.HasPrefix(name, "v3")) {
					t.Errorf("%s has %d objects", hash, n)
				}
			}
			index := indexV2
			if strings.HasPrefix(name, "v3") {
				index = indexV3
			}
			if named := w.oracle.indexes[index]; len(specs) < 20 || !maps.Equal(named, specs) {
				t.Errorf("the index names %d, there are %d", len(named), len(specs))
			}
			for _, key := range w.bucket.keys {
				if k, _ := sortKey(key); k == blobObject && w.oracle.refs[key] == nil {
					t.Errorf("nothing refers to %s", key)
				}
			}
		})
	}
}

// TestTextsHaveTheShapeOfSpacks compares what the generator writes with what Spack has written: the
// same keys at the same places, in the same order.
func TestTextsHaveTheShapeOfSpacks(t *testing.T) {
	g := newGraph(1, 12)
	s := g.Specs[len(g.Specs)-1]
	real := func(pattern string) []byte {
		names, _ := filepath.Glob(filepath.Join(spackMade, pattern))
		if len(names) == 0 {
			t.Fatalf("no %s", pattern)
		}
		text, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct{ ours, spacks []byte }{
		"index v7":    {index(g.Specs[2:], 7), real("v2-unsigned/cache/build_cache/index.json")},
		"spec file":   {s.specFile(false), real("v2-unsigned/cache/build_cache/*qs-net*.spec.json")},
		"signed spec": {unsigned(s.specFile(true)), unsigned(real("v2-signed/cache/build_cache/*qs-net*.spec.json.sig"))},
		"manifest":    {s.manifest(false), real("v3-unsigned/cache/v3/manifests/spec/qs-net/*.json")},
		"lockfile":    {lockfile(Env{s}, 5), real("v2-unsigned/locks/env-a.spack.lock")},
		"lockfile v6": {lockfile(Env{s}, 6), real("v3-unsigned/locks/env-a.spack.lock")},
	} {
		ours, spacks := shape(t, c.ours), shape(t, c.spacks)
		for path := range ours {
			if !spacks[path] {
				t.Errorf("%s: Spack writes no %s", name, path)
			}
		}
		for path := range spacks {
			if !ours[path] && !strings.Contains(path, "parameters") && !strings.Contains(path, "extra_attributes") && !strings.Contains(path, "patches") {
				t.Errorf("%s: Spack writes %s, we do not", name, path)
			}
		}
	}
	if bytesPerLine := strings.Count(string(s.manifest(false)), "\n"); bytesPerLine != strings.Count(string(real("v3-unsigned/cache/v3/manifests/spec/qs-net/*.json")), "\n") {
		t.Errorf("a manifest of ours has %d line ends", bytesPerLine)
	}
}

// shape returns the paths of all values in a JSON text, with what is keyed by hash under one name.
func shape(t *testing.T, text []byte) map[string]bool {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch v := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				name := key
				if len(key) == 32 {
					name = "HASH"
				}
				walk(path+"."+name, v[key])
			}
		case []any:
			for _, e := range v {
				walk(path+"[]", e)
			}
		default:
			paths[fmt.Sprint(path, " ", reflect.TypeOf(value))] = true
		}
	}
	walk("", value)
	return paths
}
