package rebuild

import (
	"archive/tar"
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/openbraininstitute/spacktainers/buildcache"
	folder "github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// An entry is one of a layer; a name that ends in / is a folder, a target makes a link.
type entry struct{ name, content, target string }

func layer(t *testing.T, entries ...entry) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.content))}
		switch {
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case e.target != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.target
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return layerOf(t, b.Bytes())
}

func layerOf(t *testing.T, data []byte) v1.Layer {
	t.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func appended(t *testing.T, img v1.Image, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// installed is an image with all packages of a real lockfile as the cache has them, each in a layer.
func installed(t *testing.T) (v1.Image, *buildcache.Lockfile, *buildcache.Cache) {
	t.Helper()
	dir := filepath.Join("..", "..", "testdata", "spack", "v3-unsigned")
	lock, err := buildcache.ReadLockfile(filepath.Join(dir, "locks", "env-hello.spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := buildcache.Open(t.Context(), folder.New(filepath.Join(dir, "cache")), nil)
	if err != nil {
		t.Fatal(err)
	}
	img := v1.Image(empty.Image)
	for _, s := range lock.Closure([]buildcache.Hash{lock.Roots[0].Hash}, buildcache.Runtime) {
		if s.External {
			continue
		}
		p, err := cache.Find(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		body, err := cache.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		img = appended(t, img, layerOf(t, data))
	}
	return img, lock, cache
}

// prefix is the folder of a package in the image.
func prefix(t *testing.T, img v1.Image, lock *buildcache.Lockfile, name string) string {
	t.Helper()
	for h, s := range lock.Specs {
		if s.Name != name {
			continue
		}
		all, err := imageFiles(t.Context(), img, map[buildcache.Hash]bool{h: true})
		if at := all.prefixes(h); err == nil && len(at) == 1 {
			return at[0] + "/"
		}
	}
	t.Fatalf("no %s", name)
	return ""
}

func TestPackagesAreComparedFileByFile(t *testing.T) {
	img, lock, cache := installed(t)
	r, err := Packages(t.Context(), img, lock, cache)
	if err != nil || !r.Same || r.Packages < 5 || len(r.Differences) != 0 || r.Records != 0 {
		t.Fatalf("what is as in the cache: got %+v, %v", r, err)
	}
	at := prefix(t, img, lock, "hello-spack")
	tree, self := filepath.Dir(filepath.Clean(at)), filepath.Base(at)
	for name, c := range map[string]struct {
		entries []entry
		want    string // of the only difference; empty: none
		records int
	}{
		"another content":  {[]entry{{at + "bin/hello-spack", "evil", ""}}, "bin/hello-spack another content", 0},
		"one more file":    {[]entry{{at + "bin/more", "x", ""}}, "bin/more is not in the cache's", 0},
		"a file is gone":   {[]entry{{at + "bin/.wh.hello-spack", "", ""}}, "bin/hello-spack is missing", 0},
		"a link instead":   {[]entry{{at + "bin/hello-spack", "", "/bin/sh"}}, "bin/hello-spack another kind of file", 0},
		"Spack's records":  {[]entry{{at + ".spack/install_manifest.json", "{}", ""}}, "", 1},
		"nothing of ours":  {[]entry{{"opt/else", "x", ""}, {"usr/bin/x", "x", ""}}, "", 0},
		"all of a package": {[]entry{{tree + "/.wh." + self, "", ""}}, "it is not in the image", 0},
		"a file before it": {[]entry{{strings.TrimSuffix(at, "/"), "x", ""}}, "it is not in the image", 0},
		"a link before it": {[]entry{{strings.TrimSuffix(at, "/"), "", "/tmp"}}, "it is not in the image", 0},
		"all of a folder":  {[]entry{{at + "bin/", "", ""}, {at + "bin/.wh..wh..opq", "", ""}}, "bin/hello-spack is missing", 0},
		"a second one":     {[]entry{{"opt/decoy/" + self + "/bin/hello-spack", "x", ""}}, "it is in the image more than once: opt/decoy/" + self + ", " + filepath.Clean(at), 0},
	} {
		r, err := Packages(t.Context(), appended(t, img, layer(t, c.entries...)), lock, cache)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := slices.IndexFunc(r.Differences, func(d string) bool { return strings.HasPrefix(d, "hello-spack@") && strings.Contains(d, c.want) })
		if c.want == "" && len(r.Differences) > 0 || c.want != "" && (found < 0 || len(r.Differences) != 1) || r.Same != (c.want == "") || r.Records != c.records {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

// Where a layer removes the tree of all packages none of them is in the image.
func TestAWholeTreeThatIsRemovedIsGone(t *testing.T) {
	img, lock, cache := installed(t)
	tree := filepath.Dir(filepath.Clean(prefix(t, img, lock, "hello-spack")))
	for name, e := range map[string]entry{
		"removed":  {filepath.Join(filepath.Dir(tree), ".wh."+filepath.Base(tree)), "", ""},
		"emptied":  {tree + "/.wh..wh..opq", "", ""},
		"replaced": {tree, "", "/elsewhere"},
	} {
		r, err := Packages(t.Context(), appended(t, img, layer(t, e)), lock, cache)
		if err != nil || r.Same || len(r.Differences) != r.Packages {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

func TestWhatIsNotInTheCacheIsSaid(t *testing.T) {
	img, lock, _ := installed(t)
	other, err := buildcache.Open(t.Context(), folder.New(filepath.Join("..", "..", "testdata", "spack", "v2-unsigned", "cache")), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Packages(t.Context(), img, lock, other)
	if err != nil || r.Same || r.Packages != 0 || !strings.Contains(r.Differences[0], "the build cache has not got it") {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestImagesDifferByLayerAndConfiguration(t *testing.T) {
	config := func(img v1.Image, env ...string) v1.Image {
		f, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		f = f.DeepCopy()
		f.Config.Env = env
		f.Config.Labels = map[string]string{image.LabelBuildKey: strings.Join(env, " ")}
		f.History = []v1.History{{CreatedBy: "ENV", EmptyLayer: true}, {CreatedBy: "spacktainers: lib@1"}, {CreatedBy: "spacktainers: app@1"}}
		if img, err = mutate.ConfigFile(img, f); err != nil {
			t.Fatal(err)
		}
		return img
	}
	lib, app := layer(t, entry{"lib", "1", ""}), layer(t, entry{"app", "1", ""})
	one := config(appended(t, empty.Image, lib, app), "A=1", "B=2")
	if got, err := Images(one, one); err != nil || len(got) != 0 {
		t.Errorf("the same: got %v, %v", got, err)
	}
	two := config(appended(t, empty.Image, lib, layer(t, entry{"app", "2", ""})), "A=1", "B=3")
	got, err := Images(one, two)
	if err != nil || len(got) != 4 || !strings.Contains(got[0], "B=2 is not there") || !strings.Contains(got[1], "B=3 comes") ||
		!strings.Contains(got[2], "build-key") || !strings.HasPrefix(got[3], "layer 2 (app@1): sha256:") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheEngineIsWhatTheLabelsSay(t *testing.T) {
	for label, want := range map[string]string{
		`[{"kind":"template","digest":"assemble-3"}]`:                                      "assemble",
		`[{"kind":"base","digest":"assemble-3"},{"kind":"template","digest":"podman-12"}]`: "podman",
		`[]`: "", "": "", "x": "",
	} {
		var config v1.ConfigFile
		config.Config.Labels = map[string]string{image.LabelInputs: label}
		if got := Engine(&config); got != want {
			t.Errorf("%s: got %q, want %q", label, got, want)
		}
	}
}
