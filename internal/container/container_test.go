package container

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

const lockOfEnvA = "../../testdata/spack/v3-unsigned/locks/env-a.spack.lock"

var engine = Engine{Name: "test", Template: "test-1", Base: Base{Name: "base", Digest: "sha256:1"}}

func lockText(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(lockOfEnvA)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func withLock(t *testing.T, text []byte) Container {
	t.Helper()
	c := Container{Name: "a", Platform: "linux/amd64", Target: "x86_64_v3", Spack: []byte("spack: {}")}
	if err := c.SetLock(text); err != nil {
		t.Fatal(err)
	}
	return c
}

// edited returns the lockfile with one node changed, under its old hash: as a lockfile can be that
// somebody wrote.
func edited(t *testing.T, name string, edit func(node map[string]any)) []byte {
	t.Helper()
	var lock map[string]any
	if err := json.Unmarshal(lockText(t), &lock); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, n := range lock["concrete_specs"].(map[string]any) {
		if node := n.(map[string]any); node["name"] == name {
			edit(node)
			found = true
		}
	}
	text, err := json.Marshal(lock)
	if err != nil || !found {
		t.Fatal(err, found)
	}
	return text
}

// What a DAG hash stands for is in the build key itself: a lockfile can name an honest hash for
// another spec.
func TestTheBuildKeyIsOfTheWholeDAG(t *testing.T) {
	before := withLock(t, lockText(t)).Record(engine).BuildKey
	if got := withLock(t, edited(t, "qs-hash", func(map[string]any) {})).Record(engine).BuildKey; got != before {
		t.Error("the same lockfile in another spelling has another build key")
	}
	if got := withLock(t, bytes.Replace(lockText(t), []byte("9cf66332df3dd988248617fc93400045be59ebab"), []byte("0000000000000000000000000000000000000000"), 1)).Record(engine).BuildKey; got != before {
		t.Error("another commit of Spack that finds the same specs has another build key")
	}
	arch := func(key, value string) func(map[string]any) {
		return func(n map[string]any) { n["arch"].(map[string]any)[key] = value }
	}
	for what, edit := range map[string]func(map[string]any){
		"version":      func(n map[string]any) { n["version"] = "9" },
		"namespace":    func(n map[string]any) { n["namespace"] = "mine" },
		"platform":     arch("platform", "darwin"),
		"system":       arch("platform_os", "rhel8"),
		"target":       arch("target", "zen4"),
		"a parameter":  func(n map[string]any) { n["parameters"].(map[string]any)["cflags"] = []any{"-Devil"} },
		"package hash": func(n map[string]any) { n["package_hash"] = "x" },
		"external":     func(n map[string]any) { n["external"] = map[string]any{"path": "/usr", "module": nil} },
		"no edges":     func(n map[string]any) { delete(n, "dependencies") },
		"an edge's type": func(n map[string]any) {
			n["dependencies"].([]any)[0].(map[string]any)["parameters"].(map[string]any)["deptypes"] = []any{"build", "link", "run", "test"}
		},
		"an edge's virtuals": func(n map[string]any) {
			n["dependencies"].([]any)[0].(map[string]any)["parameters"].(map[string]any)["virtuals"] = []any{"mpi"}
		},
	} {
		c := withLock(t, edited(t, "qs-hash", edit))
		if c.Record(engine).BuildKey == before {
			t.Errorf("%s of a node changes, and the build key does not", what)
		}
	}
}

func TestTheBuildKeyIsOfAllThatDecidesAnImage(t *testing.T) {
	before := withLock(t, lockText(t)).Record(engine)
	for what, change := range map[string]func(*Container, *Engine){
		"a file":          func(c *Container, _ *Engine) { c.Inputs = []image.Input{{Kind: "file", Name: "x", Digest: "y"}} },
		"the platform":    func(c *Container, _ *Engine) { c.Platform = "linux/arm64" },
		"the target":      func(c *Container, _ *Engine) { c.Target = "x86_64_v4" },
		"the environment": func(c *Container, _ *Engine) { c.Spack = []byte("spack: {view: false}") },
		"the roots":       func(c *Container, _ *Engine) { slices.Reverse(c.Roots) },
		"the template":    func(_ *Container, e *Engine) { e.Template = "test-2" },
		"the base":        func(_ *Container, e *Engine) { e.Base.Digest = "sha256:2" },
		"the base's key":  func(_ *Container, e *Engine) { e.Base.Key = "k" },
		"the engine":      func(_ *Container, e *Engine) { e.Inputs = []image.Input{{Kind: "view", Digest: "1"}} },
	} {
		c, e := withLock(t, lockText(t)), engine
		change(&c, &e)
		if c.Record(e).BuildKey == before.BuildKey {
			t.Errorf("%s changes, and the build key does not", what)
		}
	}
	c := withLock(t, lockText(t))
	c.Name, c.Revision, c.Origin = "b", "c1", "https://example.org"
	if c.Record(engine).BuildKey != before.BuildKey {
		t.Error("the build key is of what does not decide the image's content")
	}
}

// The repository that is built from, the base image and the build key are for those who trust the
// image: no definition and no base image sets them, also where a build does not know them.
func TestADefinitionCannotSetTheLabelsOfTheBuild(t *testing.T) {
	c := withLock(t, lockText(t))
	record := c.Record(engine)
	honest := c.ImageLabels(record, engine.Base, time.Time{})
	c.Labels = map[string]string{"org.opencontainers.image.title": "A title", "Org.OpenContainers.Image.Revision": "evil", "com.example": "1",
		"org.openbraininstitute.spacktainers.new": "evil", "org.opencontainers.image.created": "evil"}
	for name := range honest {
		if name != "org.opencontainers.image.title" {
			c.Labels[name] = "evil"
		}
	}
	got := c.ImageLabels(record, engine.Base, time.Time{})
	want := maps.Clone(honest)
	want["org.opencontainers.image.title"], want["com.example"] = "A title", "1"
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, name := range []string{"revision", "source", "base.name", "base.digest", "version"} {
		if _, ok := got["org.opencontainers.image."+name]; !ok {
			t.Errorf("%s is left to the base image", name)
		}
	}
}

func TestALabelOfInputsFitsIntoAnArgument(t *testing.T) {
	inputs := []image.Input{{Kind: "dag", Digest: "d"}}
	for range 3000 {
		inputs = append(inputs, image.Input{Kind: specKind, Name: "name", Digest: "1.0/" + strings.Repeat("a", 32)})
	}
	if got := InputsLabel(inputs); len(got) > maxLabel || !strings.Contains(got, `"dag"`) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestTheConcretizationKeyIsOfAllThatDecidesALockfile(t *testing.T) {
	by := Concretizer{Spack: "c1", Repos: []string{"r1@c1 a b", "r2@c2"}, Builder: "b1"}
	key := func(c Container, by Concretizer) string {
		t.Helper()
		key, err := c.ConcretizationKey(by)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	c := withLock(t, lockText(t))
	seen := map[string]string{key(c, by): "nothing"}
	look := func(what string, c Container, by Concretizer) {
		t.Helper()
		k := key(c, by)
		if before, ok := seen[k]; ok {
			t.Errorf("%s: the same key as %s", what, before)
		}
		seen[k] = what
	}
	other := c
	other.Spack = []byte("spack: {specs: [x]}")
	look("merged text", other, by)
	other = c
	other.Target = "x86_64"
	look("target", other, by)
	other = c
	other.Platform = "linux/arm64"
	look("platform", other, by)
	other = c
	other.environment = []image.Input{{Kind: "file", Name: "common.yaml", Digest: "1"}}
	look("included file", other, by)
	other = c
	other.Inputs = []image.Input{{Kind: "file", Name: "Dockerfile.epilogue", Digest: "1"}}
	if key(other, by) != key(c, by) {
		t.Error("a file that only the image is made of changes the key")
	}
	look("Spack", c, Concretizer{"c2", by.Repos, by.Builder})
	look("repositories", c, Concretizer{by.Spack, by.Repos[:1], by.Builder})
	look("order of repositories", c, Concretizer{by.Spack, []string{by.Repos[1], by.Repos[0]}, by.Builder})
	look("builder", c, Concretizer{by.Spack, by.Repos, "b2"})
	for _, unknown := range []Concretizer{{}, {Spack: "s"}, {Spack: "s", Builder: "b", Repos: []string{""}}} {
		if got, err := c.ConcretizationKey(unknown); err == nil {
			t.Errorf("%v has the key %s", unknown, got)
		}
	}
}

func TestCompareNamesWhatChanged(t *testing.T) {
	before := []image.Input{{Kind: "file", Name: "a", Digest: "1"}, {Kind: "file", Name: "gone", Digest: "1"}, {Kind: "root", Name: "1 app", Digest: "1/aaa"},
		{Kind: "platform", Digest: "p"}, {Kind: "dag", Digest: "1"}, {Kind: "environment", Digest: "1"}, {Kind: "spec", Name: "zlib", Digest: "1.2/aaa"}, {Kind: "spec", Name: "app", Digest: "1/aaa"}}
	after := []image.Input{{Kind: "platform", Digest: "p"}, {Kind: "root", Name: "1 app", Digest: "1/bbb"}, {Kind: "file", Name: "a", Digest: "2"}, {Kind: "file", Name: "new", Digest: "1"},
		{Kind: "dag", Digest: "2"}, {Kind: "environment", Digest: "2"}, {Kind: "spec", Name: "zlib", Digest: "1.3/bbb"}, {Kind: "spec", Name: "app", Digest: "1/bbb"}}
	var got []string
	for _, c := range Compare(before, after) {
		got = append(got, c.String())
	}
	want := "file a changed, file gone is gone, file new is new, root 1 app: 1/aaa → 1/bbb, spec zlib: 1.2/aaa → 1.3/bbb"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	if changes := Compare(after, after); len(changes) > 0 {
		t.Errorf("got %v for the same inputs", changes)
	}
	forged := slices.Clone(after)
	forged[4].Digest = "3"
	if changes := Compare(after, forged); len(changes) != 1 || changes[0].Kind != "dag" {
		t.Errorf("got %v where only the DAG's digest differs", changes)
	}
}

func TestALockfileOfAnotherDefinitionIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, definition.Folder, "amd64", "a", "spack.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("spack:\n  specs: [qs-client@7]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	defs, err := definition.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(defs[0], "x86_64_v3")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetLock(lockText(t)); err == nil {
		t.Error("a lockfile without the definition's spec is taken")
	}
	if !bytes.Contains(c.Spack, []byte("target=x86_64_v3")) || len(c.Inputs) != 1 {
		t.Errorf("got %s and %v", c.Spack, c.Inputs)
	}
}
