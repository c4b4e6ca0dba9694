package janitor_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// A world is a cache that a test makes up, and those who push to it.
type world struct {
	t      testing.TB
	rand   *rand.Rand
	m      *memory
	layout int
	nodes  []*node // dependencies before dependents
	byHash map[string]*node
}

type node struct {
	Name         string         `json:"name"`
	Version      string         `json:"version"`
	Arch         map[string]any `json:"arch"`
	Compiler     map[string]any `json:"compiler,omitempty"`
	Namespace    string         `json:"namespace"`
	Parameters   map[string]any `json:"parameters"`
	External     map[string]any `json:"external,omitempty"`
	PackageHash  string         `json:"package_hash"`
	Dependencies []dep          `json:"dependencies,omitempty"`
	Hash         string         `json:"hash"`
}

type dep struct {
	Name       string `json:"name"`
	Hash       string `json:"hash"`
	Parameters struct {
		Deptypes []string `json:"deptypes"`
		Virtuals []string `json:"virtuals"`
	} `json:"parameters"`
}

var depTypes = [][]string{{"build"}, {"link"}, {"run"}, {"build", "link"}, {"build", "link", "run"}, {"build", "run"}, {"test"}}

func newWorld(t testing.TB, seed uint64, layout int) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), layout: layout, byHash: map[string]*node{}}
	w.m = newMemory(func() time.Time { return now })
	return w
}

// add makes a spec that depends on some of those there are.
func (w *world) add(edges int) *node {
	n := &node{
		Name: fmt.Sprintf("p%d", w.rand.IntN(12)), Version: fmt.Sprintf("%d.%d", w.rand.IntN(4), w.rand.IntN(3)),
		Arch:      map[string]any{"platform": "linux", "platform_os": "debian12", "target": "x86_64_v3"},
		Namespace: "test", Parameters: map[string]any{}, PackageHash: "x====",
	}
	if w.layout == 2 {
		n.Compiler = map[string]any{"name": "gcc", "version": "12.2.0"}
	}
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	for range 32 {
		n.Hash += string(alphabet[w.rand.IntN(32)])
	}
	if w.rand.IntN(12) == 0 {
		n.External = map[string]any{"path": "/usr", "module": nil}
		edges = 0
	}
	for _, i := range w.rand.Perm(len(w.nodes))[:min(edges, len(w.nodes))] {
		d := dep{Name: w.nodes[i].Name, Hash: w.nodes[i].Hash}
		d.Parameters.Deptypes = depTypes[w.rand.IntN(len(depTypes))]
		d.Parameters.Virtuals = []string{}
		n.Dependencies = append(n.Dependencies, d)
	}
	w.nodes = append(w.nodes, n)
	w.byHash[n.Hash] = n
	return n
}

// dag returns a spec and all that it needs, itself first.
func (w *world) dag(roots ...string) []*node {
	var all []*node
	seen := map[string]bool{}
	var visit func(string)
	visit = func(h string) {
		if seen[h] {
			return
		}
		seen[h] = true
		all = append(all, w.byHash[h])
		for _, d := range w.byHash[h].Dependencies {
			visit(d.Hash)
		}
	}
	for _, h := range roots {
		visit(h)
	}
	return all
}

// An upload is one object of a push.
type upload struct {
	key  string
	data []byte
}

// uploads returns what a push of a spec writes, in Spack's order.
func (w *world) uploads(n *node) []upload {
	tarball := fmt.Appendf(nil, "tarball of %s", n.Hash)
	spec := map[string]any{"spec": map[string]any{"_meta": map[string]any{"version": 4}, "nodes": w.dag(n.Hash)}, "buildcache_layout_version": 2,
		"binary_cache_checksum": map[string]any{"hash_algorithm": "sha256", "hash": sum(tarball)}}
	text, err := json.Marshal(spec)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.layout == 2 {
		stem := "linux-debian12-x86_64_v3-gcc-12.2.0-" + n.Name + "-" + n.Version + "-" + n.Hash
		return []upload{
			{"build_cache/linux-debian12-x86_64_v3/gcc-12.2.0/" + n.Name + "-" + n.Version + "/" + stem + ".spack", tarball},
			{"build_cache/" + stem + ".spec.json", text},
		}
	}
	packed := gzipped(text)
	manifest := fmt.Appendf(nil, `{"version":3,"data":[%s,%s]}`, blobText(buildcache.MediaTypeTarball, "gzip", tarball), blobText(buildcache.MediaTypeSpec, "gzip", packed))
	return []upload{
		{blobKey(tarball), tarball},
		{blobKey(packed), packed},
		{"v3/manifests/spec/" + n.Name + "/" + n.Name + "-" + n.Version + "-" + n.Hash + ".spec.manifest.json", manifest},
	}
}

func blobText(mediaType, compression string, data []byte) string {
	return fmt.Sprintf(`{"contentLength":%d,"mediaType":%q,"compression":%q,"checksumAlgorithm":"sha256","checksum":%q}`, len(data), mediaType, compression, sum(data))
}

func blobKey(data []byte) string { s := sum(data); return "blobs/sha256/" + s[:2] + "/" + s }

// push writes a whole spec.
func (w *world) push(n *node, at time.Time) {
	if n.External != nil {
		return
	}
	for _, u := range w.uploads(n) {
		w.m.set(u.key, u.data, at)
	}
}

// pushDependent pushes a new spec that links to another one, and indexes it.
func (w *world) pushDependent(base *node) *node {
	top := w.add(0)
	top.External, top.Dependencies = nil, []dep{{Name: base.Name, Hash: base.Hash}}
	top.Dependencies[0].Parameters.Deptypes = []string{"link"}
	w.push(top, now)
	w.updateIndex(now)
	return top
}

// present is the test by which a pusher skips a spec: its spec file or
// manifest is there.
func (w *world) present(n *node) bool {
	all := w.uploads(n)
	return n.External != nil || w.m.data(all[len(all)-1].key) != nil
}

// updateIndex does what spack buildcache update-index does.
func (w *world) updateIndex(at time.Time) {
	installs := map[string]map[string]any{}
	refs := map[string]int{}
	for _, n := range w.nodes {
		if n.External != nil || !w.present(n) {
			continue
		}
		for _, d := range w.dag(n.Hash) {
			if installs[d.Hash] == nil {
				installs[d.Hash] = map[string]any{"spec": d, "in_buildcache": false}
				for _, e := range d.Dependencies {
					refs[e.Hash]++
				}
			}
		}
		installs[n.Hash]["in_buildcache"] = true
	}
	for h, r := range installs {
		r["ref_count"] = refs[h]
	}
	text, err := json.Marshal(map[string]any{"database": map[string]any{"version": map[int]string{2: "7", 3: "8"}[w.layout], "installs": installs}})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.layout == 2 {
		w.m.set("build_cache/index.json", text, at)
		w.m.set("build_cache/index.json.hash", []byte(sum(text)), at)
		return
	}
	w.m.set(blobKey(text), text, at)
	w.m.set("v3/manifests/index/index.manifest.json", []byte(`{"version":3,"data":[`+blobText(buildcache.MediaTypeIndex, "none", text)+`]}`), at)
}

// lock makes an environment's lockfile.
func (w *world) lock(name string, roots ...*node) rootset.Lock {
	w.t.Helper()
	specs := map[string]*node{}
	var list []map[string]string
	for _, r := range roots {
		list = append(list, map[string]string{"hash": r.Hash, "spec": r.Name})
		for _, n := range w.dag(r.Hash) {
			specs[n.Hash] = n
		}
	}
	text, err := json.Marshal(map[string]any{
		"_meta": map[string]any{"file-type": "spack-lockfile", "lockfile-version": 5, "specfile-version": 4},
		"spack": map[string]any{}, "roots": list, "concrete_specs": specs})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := rootset.ParseLock(name, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// closure returns what specs need at run time, or altogether, themselves too.
func (w *world) closure(runtimeOnly bool, roots ...string) map[string]bool {
	need := map[string]bool{}
	var visit func(string)
	visit = func(h string) {
		if need[h] {
			return
		}
		need[h] = true
		for _, d := range w.byHash[h].Dependencies {
			if !runtimeOnly || slices.Contains(d.Parameters.Deptypes, "link") || slices.Contains(d.Parameters.Deptypes, "run") {
				visit(d.Hash)
			}
		}
	}
	for _, h := range roots {
		visit(h)
	}
	return need
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

func ours(key string) bool { return strings.HasPrefix(key, ".spacktainers/") }
