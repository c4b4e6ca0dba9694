package synth_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

func text(t *testing.T, c synth.Cache) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Index(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func both(t *testing.T, specs int, test func(t *testing.T, c synth.Cache)) {
	for _, layout := range []int{2, 3} {
		t.Run(fmt.Sprint("layout ", layout), func(t *testing.T) {
			test(t, synth.Cache{Specs: specs, Seed: 7, Layout: layout})
		})
	}
}

func TestIndexIsTheSameForTheSameSeed(t *testing.T) {
	both(t, 300, func(t *testing.T, c synth.Cache) {
		first, again := text(t, c), text(t, c)
		if !bytes.Equal(first, again) {
			t.Error("it is not")
		}
		c.Seed++
		if bytes.Equal(first, text(t, c)) {
			t.Error("for another one, too")
		}
	})
}

func TestIndexIsLikeSpacks(t *testing.T) {
	both(t, 3000, func(t *testing.T, c synth.Cache) {
		data := text(t, c)
		if size := len(data) / c.Specs; size < 1700 || size > 2100 {
			t.Errorf("got %d bytes a spec", size)
		}
		g, err := index.Read(bytes.NewReader(data), 0)
		if err != nil {
			t.Fatal(err)
		}
		refs := make([]uint32, g.Len())
		cached, edges := 0, 0
		for i, id := range g.Entries() {
			if g.InCache(id) {
				cached++
			}
			if g.Hash(id) != c.Hash(i) || g.Name(id) != c.Name(i) || g.VersionOf(id) != c.Version(i) || g.External(id) != c.External(i) {
				t.Fatalf("spec %d: got %s %s %s", i, g.Hash(id), g.Name(id), g.VersionOf(id))
			}
			for to := range g.Deps(id) {
				edges++
				refs[to]++
			}
		}
		if g.Len() != c.Specs || cached != c.Specs-2 || edges < 5*c.Specs || edges > 9*c.Specs {
			t.Errorf("got %d nodes, %d in the cache, %d edges", g.Len(), cached, edges)
		}
		for _, id := range g.Entries() {
			if g.RefCount(id) != refs[id] {
				t.Errorf("%s: %d references, want %d", g.Hash(id), g.RefCount(id), refs[id])
			}
		}
	})
}

func TestRecordsHaveTheKeysOfSpacksInItsOrder(t *testing.T) {
	both(t, 10, func(t *testing.T, c synth.Cache) {
		want := []string{"name", "version", "arch", "compiler", "namespace", "parameters", "package_hash", "dependencies", "hash"}
		if c.Layout == 3 {
			want = []string{"name", "version", "arch", "namespace", "parameters", "package_hash", "dependencies", "annotations", "hash"}
		}
		var file struct {
			Database struct {
				Installs map[string]struct{ Spec json.RawMessage }
			}
		}
		if err := json.Unmarshal(text(t, c), &file); err != nil {
			t.Fatal(err)
		}
		raw := file.Database.Installs[string(c.Hash(9))].Spec
		if got := keys(t, raw); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if _, err := buildcache.ParseSpec(raw); err != nil {
			t.Error(err)
		}
	})
}

func keys(t *testing.T, object json.RawMessage) (list []string) {
	d := json.NewDecoder(bytes.NewReader(object))
	d.Token()
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			t.Fatal(err)
		}
		list = append(list, key.(string))
	}
	return list
}

func TestLockfileIsWhole(t *testing.T) {
	both(t, 2000, func(t *testing.T, c synth.Cache) {
		roots := c.Roots(3)
		l, err := buildcache.ParseLockfile(c.Lockfile(roots...))
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Roots) != 3 || l.Roots[0].Hash != c.Hash(roots[0]) || len(l.Specs) < 20 {
			t.Errorf("got roots %v and %d specs", l.Roots, len(l.Specs))
		}
	})
}

func fill(t *testing.T, c synth.Cache) map[string]synth.Object {
	t.Helper()
	objects := map[string]synth.Object{}
	if err := c.Fill(func(o synth.Object) error {
		objects[o.Key] = o
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return objects
}

func TestFillMakesWhatTheIndexPromises(t *testing.T) {
	both(t, 60, func(t *testing.T, c synth.Cache) {
		objects := fill(t, c)
		want := 2*(c.Specs-2) + 2
		if c.Layout == 3 {
			want = 3*(c.Specs-2) + 3
		}
		if len(objects) != want {
			t.Errorf("got %d objects, want %d", len(objects), want)
		}
		for _, o := range objects {
			if o.ModTime.IsZero() || o.ModTime.After(c.ModTime(c.Specs-1)) || o.ModTime.Before(c.ModTime(0)) {
				t.Errorf("%s: from %s", o.Key, o.ModTime)
			}
		}
		for i := range c.Specs {
			for _, o := range c.Objects(i) {
				if !bytes.Equal(objects[o.Key].Body, o.Body) {
					t.Errorf("%s is another one", o.Key)
				}
			}
		}
	})
}

func TestBlobsLieWhereTheirDigestsSay(t *testing.T) {
	objects := fill(t, synth.Cache{Specs: 30, Layout: 3})
	for key, o := range objects {
		sum := sha256.Sum256(o.Body)
		if hash, ok := strings.CutPrefix(key, "blobs/sha256/"); ok && hash[3:] != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has the digest %x", key, sum)
		}
		if !strings.HasSuffix(key, ".manifest.json") {
			continue
		}
		var m struct {
			Data []struct {
				ContentLength int
				Checksum      string
			}
		}
		if err := json.Unmarshal(o.Body, &m); err != nil || len(m.Data) == 0 {
			t.Fatalf("%s: %v", key, err)
		}
		for _, d := range m.Data {
			if b, ok := objects["blobs/sha256/"+d.Checksum[:2]+"/"+d.Checksum]; !ok || len(b.Body) != d.ContentLength {
				t.Errorf("%s: blob %s: %v, %d bytes", key, d.Checksum, ok, len(b.Body))
			}
		}
	}
}

func TestSpecFilesHoldTheirDAG(t *testing.T) {
	c := synth.Cache{Specs: 60, Layout: 2}
	for _, shallow := range []bool{false, true} {
		c.Shallow = shallow
		var file struct {
			Spec struct{ Nodes []json.RawMessage }
			Sum  struct{ Hash string } `json:"binary_cache_checksum"`
		}
		objects := c.Objects(59)
		if err := json.Unmarshal(objects[1].Body, &file); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(objects[0].Body)
		if file.Sum.Hash != hex.EncodeToString(sum[:]) {
			t.Error("the checksum is not that of the tarball")
		}
		if got := len(file.Spec.Nodes); shallow != (got == 1) {
			t.Errorf("shallow %v: got %d nodes", shallow, got)
		}
		s, err := buildcache.ParseSpec(file.Spec.Nodes[0])
		if err != nil || s.Hash != c.Hash(59) {
			t.Errorf("got %v, %v", s, err)
		}
	}
}

func TestTarballsAreThoseOfSpack(t *testing.T) {
	both(t, 60, func(t *testing.T, c synth.Cache) {
		c.PackageSize = 5000
		z, err := gzip.NewReader(bytes.NewReader(c.Objects(59)[0].Body))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		var last []byte
		for a := tar.NewReader(z); ; {
			h, err := a.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Uid != 0 || h.ModTime.Unix() != 0 {
				t.Errorf("%s: of %d, from %s", h.Name, h.Uid, h.ModTime)
			}
			names = append(names, h.Name)
			if last, err = io.ReadAll(a); err != nil {
				t.Fatal(err)
			}
		}
		var info struct {
			Path     string            `yaml:"buildpath"`
			Relative string            `yaml:"relative_prefix"`
			Prefixes map[string]string `yaml:"hash_to_prefix"`
		}
		if err := yaml.Unmarshal(last, &info); err != nil {
			t.Fatal(err)
		}
		prefix := info.Path + "/" + info.Relative
		if names[0] != "opt/" || "/"+names[len(names)-1] != prefix+"/.spack/binary_distribution" || len(info.Path) != 128 {
			t.Errorf("got %v", names)
		}
		if info.Prefixes[string(c.Hash(59))] != prefix {
			t.Errorf("got %v", info.Prefixes)
		}
	})
}
