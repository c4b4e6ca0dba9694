package assemble

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

// baseLayout writes a base image with a shell, as a layout.
func baseLayout(t *testing.T, platform v1.Platform, folders ...string) string {
	t.Helper()
	var body bytes.Buffer
	w := tar.NewWriter(&body)
	for _, h := range []tar.Header{
		{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/bin/sh", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range folders {
		if err := w.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Config.Env = []string{"PATH=/usr/bin", "LANG=C.UTF-8"}
	config.Config.Cmd = []string{"sh"}
	config.Config.Labels = map[string]string{"of": "the base"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img, layout.WithPlatform(platform)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPackagesStandOnTheBaseImage(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	c := b.container(fixtures + "/v3-signed/locks/env-a.spack.lock")
	var err error
	if c.Base, err = OpenBase(t.Context(), nil, "oci:"+baseLayout(t, amd64), amd64); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "run.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Files = []container.File{{Source: script, Target: "/bin/run.sh"}, {Source: filepath.Dir(script), Target: "/opt/new/place"}}
	img := b.open(b.mustBuild(c))
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Join(config.Config.Env, " ")
	if !strings.Contains(env, "PATH=/opt/view/bin:/usr/bin ") || !strings.Contains(env, "LANG=C.UTF-8") {
		t.Errorf("environment is %s", env)
	}
	if got := strings.Join(config.Config.Entrypoint, " "); got != entrypoint || len(config.Config.Cmd) > 0 { // the command was the base's entrypoint's
		t.Errorf("entrypoint is %q, command %q", got, config.Config.Cmd)
	}
	if config.Config.Labels["of"] != "the base" || !strings.HasPrefix(config.Config.Labels["org.opencontainers.image.base.digest"], "sha256:") {
		t.Errorf("labels are %v", config.Config.Labels)
	}
	tree := files(t, img)
	for _, name := range []string{"usr/bin/sh", "entrypoint.sh", "opt/software/bin/sbang", "opt/spack-environment/spack.lock", "etc/profile.d/spacktainer.sh", "opt/new/place/run.sh", "usr/bin/run.sh"} {
		if _, ok := tree[name]; !ok {
			t.Errorf("%s is not in the image", name)
		}
	}
	if tree["bin"] != "usr/bin" {
		t.Error("the base's link bin -> usr/bin is gone")
	}
}

func TestBaseForAnotherPlatformIsRefused(t *testing.T) {
	arm64 := v1.Platform{OS: "linux", Architecture: "arm64"}
	if _, err := OpenBase(t.Context(), nil, "oci:"+baseLayout(t, arm64), amd64); err == nil || !strings.Contains(err.Error(), "no image for this platform") {
		t.Errorf("got %v", err)
	}
}

func TestLockfileForAnotherPlatformIsRefused(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	c := b.container(fixtures + "/v3-signed/locks/env-a.spack.lock")
	c.Platform = "linux/arm64"
	if _, err := b.build(t.Context(), c); err == nil || !strings.Contains(err.Error(), "another platform") {
		t.Errorf("got %v", err)
	}
	b.nothingLeft()
}

func TestDamagedBaseIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"truncated index": func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "index.json"), 40); err != nil {
				t.Fatal(err)
			}
		},
		"no index": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "index.json")); err != nil {
				t.Fatal(err)
			}
		},
		"flipped byte": func(t *testing.T, dir string) {
			blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, blob := range blobs {
				flip(t, blob)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := baseLayout(t, amd64)
			damage(t, dir)
			b := newBench(t, fixtures+"/v3-signed/cache")
			c := b.container(fixtures + "/v3-signed/locks/env-hello.spack.lock")
			base, err := OpenBase(t.Context(), nil, "oci:"+dir, amd64)
			if err == nil {
				c.Base = base
				_, err = b.build(t.Context(), c)
			}
			if err == nil || !strings.Contains(err.Error(), "base image oci:") {
				t.Errorf("got %v", err)
			}
			b.nothingLeft()
		})
	}
}

// What a definition adds goes where the container would look for it: a layer
// with a bin/x would put a folder in the place of the base's link bin -> usr/bin.
func TestPathsAreResolvedThroughTheLinksOfTheBase(t *testing.T) {
	g := baseLayers{links: map[string]string{
		"bin": "usr/bin", "abs": "/usr/share", "usr/up": "../etc", "a": "b", "b": "a", "usr/bin/sh": shellMark,
	}}
	for name, want := range map[string]string{
		"/bin/x": "usr/bin/x", "/bin": "bin", "/abs/doc/x": "usr/share/doc/x", "/usr/up/x": "etc/x", "/opt/x/y": "opt/x/y",
	} {
		if got, err := g.resolve(name); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"/a/x", "/usr/bin/sh/x"} {
		if got, err := g.resolve(name); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestALayerMayTakeTheShellAway(t *testing.T) {
	for name, test := range map[string]struct {
		second []tar.Header
		shell  bool
	}{
		"it stays":        {[]tar.Header{{Name: "etc/", Typeflag: tar.TypeDir}}, true},
		"whiteout":        {[]tar.Header{{Name: "usr/bin/.wh.sh", Typeflag: tar.TypeReg}}, false},
		"folder emptied":  {[]tar.Header{{Name: "usr/bin/.wh..wh..opq", Typeflag: tar.TypeReg}}, false},
		"folder removed":  {[]tar.Header{{Name: ".wh.usr", Typeflag: tar.TypeReg}}, false},
		"folder replaced": {[]tar.Header{{Name: "usr", Typeflag: tar.TypeSymlink, Linkname: "opt"}}, false},
	} {
		g := baseLayers{folders: map[string]bool{}, links: map[string]string{}}
		for _, layer := range [][]tar.Header{{{Name: "usr/", Typeflag: tar.TypeDir}, {Name: "usr/bin/sh", Typeflag: tar.TypeReg}}, test.second} {
			var body bytes.Buffer
			w := tar.NewWriter(&body)
			for _, h := range layer {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(w.Close(), g.look(tar.NewReader(&body))); err != nil {
				t.Fatal(err)
			}
		}
		if got := g.has("usr/bin/sh"); got != test.shell {
			t.Errorf("%s: shell is %v", name, got)
		}
	}
}

func TestAmbiguousAndNestedLayoutsOfBases(t *testing.T) {
	img := func(seed int64) v1.Image {
		img, err := random.Image(100, seed)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", "amd64"
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		return img
	}
	write := func(index v1.ImageIndex, images ...v1.Image) string {
		dir := t.TempDir()
		path, err := layout.Write(dir, index)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range images {
			if err := path.AppendImage(i); err != nil { // without a platform, as skopeo does
				t.Fatal(err)
			}
		}
		return "oci:" + dir
	}
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img(1)})})
	if _, err := OpenBase(t.Context(), nil, write(nested), amd64); err != nil {
		t.Errorf("an index in the index: %v", err)
	}
	if _, err := OpenBase(t.Context(), nil, write(empty.Index, img(1), img(2)), amd64); err == nil || !strings.Contains(err.Error(), "several images") {
		t.Errorf("two images for the platform: %v", err)
	}
}

// Each byte of a base's layout counts: manifest, configuration and layer.
func TestAFlippedByteInAnyBlobOfTheBaseIsFound(t *testing.T) {
	dir := baseLayout(t, amd64)
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
	if err != nil || len(blobs) != 3 {
		t.Fatal(blobs, err)
	}
	for _, blob := range blobs {
		flip(t, blob)
		b := newBench(t, fixtures+"/v3-signed/cache")
		c := b.container(fixtures + "/v3-signed/locks/env-hello.spack.lock")
		base, err := OpenBase(t.Context(), nil, "oci:"+dir, amd64)
		if err == nil {
			c.Base = base
			_, err = b.build(t.Context(), c)
		}
		if err == nil {
			t.Errorf("built on a base with a damaged %s", filepath.Base(blob))
		}
		b.nothingLeft()
		flip(t, blob)
		if whole, err := os.ReadFile(blob); err != nil {
			t.Fatal(err)
		} else if err := os.WriteFile(blob, append(whole, '\n'), 0o644); err != nil {
			t.Fatal(err)
		} else if base, err := OpenBase(t.Context(), nil, "oci:"+dir, amd64); err == nil {
			c := b.container(fixtures + "/v3-signed/locks/env-hello.spack.lock")
			c.Base = base
			if _, err := b.build(t.Context(), c); err == nil {
				t.Errorf("built on a base with a byte too many in %s", filepath.Base(blob))
			}
		}
		if whole, err := os.ReadFile(blob); err != nil {
			t.Fatal(err)
		} else if err := os.WriteFile(blob, whole[:len(whole)-1], 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
