package sif

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/apptainertest"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// hosted puts the real apptainer on PATH.
func hosted(t *testing.T) (apptainer, Builder) {
	a := needApptainer(t)
	t.Setenv("PATH", a.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	run := command.Exec(testLog{t})
	engine, err := NewApptainer(t.Context(), run, "none")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(engine.Name(), "apptainer 1.") {
		t.Errorf("the engine is %q", engine.Name())
	}
	client, err := registry.NewClient(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a, Builder{Folder: Folder(t.TempDir()), Run: run, Engine: engine, Compression: Zstd, Pull: client.Pull}
}

func TestApptainerBuilds(t *testing.T) {
	a, b := hosted(t)
	plain := v1.Config{Env: []string{"PATH=/opt/view/bin:/bin"}} // 1.4.5 trips over a backtick in the environment
	sif := build(t, b, "amd64", plain, busyboxLayer(t, tooltest.Need(t, "busybox")), layerOf(t, program("opt/view/bin/show", show)))
	if got := a.run("exec", sif, "show", "a b"); got != "[a b]" {
		t.Errorf("got %q", got)
	}
	arm := build(t, b, "arm64", v1.Config{}, busyboxLayer(t, apptainertest.ARM64(t))) // it looks at the programs, not at the configuration
	if got := a.run("sif", "list", arm); !strings.Contains(got, "*System/arm64") {
		t.Errorf("got %s", got)
	}
}

func TestPodmanRunsApptainerWhereTheHostHasNone(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in *--version) echo apptainer version 1.4.5 ;; *--help) echo --mksquashfs-args ;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "podman"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	engine, err := NewApptainer(t.Context(), command.Exec(testLog{t}), "registry.example.org/singularitah")
	if err != nil {
		t.Fatal(err)
	}
	c, err := engine.buildCmd(Zstd, buildArgs{arch: "arm64", from: "oci:/layout", reads: "/layout"}, "/out/x.sif")
	want := []string{
		"podman", "run", "--rm", "--privileged", "--network=host", "--volume=/out:/out", "--volume=/layout:/layout", "--entrypoint=apptainer", "registry.example.org/singularitah",
		"build", "--force", "--arch", "arm64", "--mksquashfs-args", "-comp zstd -Xcompression-level 3", "/out/x.sif", "oci:/layout",
	}
	if err != nil || !slices.Equal(c.Args, want) {
		t.Errorf("got %q, %v", c.Args, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := NewApptainer(t.Context(), command.Exec(nil), "x"); err == nil || !strings.Contains(err.Error(), "--engine=native") {
		t.Errorf("with nothing there: %v", err)
	}
}

// %post of a definition file runs what its author wrote, with the environment of apptainer.
func TestWhatADefinitionFileRunsSeesNoSecrets(t *testing.T) {
	bin, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	script := "#!/bin/sh\necho apptainer version 1.4.5 --mksquashfs-args\ncase \"$*\" in *--force*) env >" + seen + "; for f; do case $f in *.part) echo x >$f ;; esac; done ;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "apptainer"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, name := range []string{"AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY", "GHCR_TOKEN", "RELEASES_PASSWORD", "COSIGN_PASSWORD", "SIF_KEY_PASSPHRASE", "CI_JOB_TOKEN", "SPACK_DEPLOYMENT_KEY_PRIVATE_CONTENT"} {
		t.Setenv(name, "canary")
	}
	t.Setenv("APPTAINER_DOCKER_PASSWORD", "its-own")
	run := command.Exec(testLog{t})
	engine, err := NewApptainer(t.Context(), run, "none")
	if err != nil {
		t.Fatal(err)
	}
	def := filepath.Join(t.TempDir(), "tool.def")
	if err := os.WriteFile(def, []byte("Bootstrap: scratch\n%post\nenv\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := Builder{Folder: Folder(t.TempDir()), Run: run, Engine: engine, Compression: Zstd}
	if _, _, err := b.BuildDefinitionFile(t.Context(), DefinitionFile{Name: "tool", Version: "1", Platform: "linux/amd64", Path: def}); err != nil {
		t.Log(err)
	}
	text, err := os.ReadFile(seen)
	if err != nil || strings.Contains(string(text), "canary") || !strings.Contains(string(text), "APPTAINER_DOCKER_PASSWORD=its-own") {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestSingularityThatKnowsGzipAlone(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "singularity"), []byte("#!/bin/sh\necho singularity-ce version 3.11.4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	engine, err := NewApptainer(t.Context(), command.Exec(testLog{t}), "")
	if err != nil || engine.Name() != "singularity 3.11.4" {
		t.Fatal(engine.Name(), err)
	}
	if _, err := engine.buildCmd(Zstd, buildArgs{}, "x"); err == nil || !strings.Contains(err.Error(), "--compression=gzip") {
		t.Errorf("zstd: %v", err)
	}
	if c, err := engine.buildCmd(Gzip, buildArgs{arch: "amd64", from: "f"}, "x"); err != nil || slices.Contains(c.Args, "--mksquashfs-args") {
		t.Errorf("gzip: %q, %v", c.Args, err)
	}
}

// push puts an image into a registry on loopback and returns its reference.
func push(t *testing.T, host, tag, arch string, layers ...v1.Layer) string {
	t.Helper()
	tree, record := put(t, arch, v1.Config{Env: []string{"FROM=" + tag}}, layers...)
	img, err := tree.Open(record)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/source:" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}

func quietRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(memory.New(memory.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// An edit of the text and a new image under the same tag are new builds;
// nothing else is.
func TestDefinitionIsBuiltFromTheDigestThatIsRecorded(t *testing.T) {
	a, b := hosted(t)
	host := quietRegistry(t)
	busybox := tooltest.Need(t, "busybox")
	ref := push(t, host, "1.7.0", "amd64", busyboxLayer(t, busybox), layerOf(t, regular("etc/which", "one")))
	def := filepath.Join(t.TempDir(), "storage.def")
	recipe := DefinitionFile{Name: "storage", Version: "1.7.0", Platform: "linux/amd64", Path: def}
	make := func(text string) (Record, bool) {
		t.Helper()
		if err := os.WriteFile(def, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		recipe.Inputs = []image.Input{{Kind: "file", Name: "storage.def", Digest: text}}
		r, built, err := b.BuildDefinitionFile(t.Context(), recipe)
		if err != nil {
			t.Fatal(err)
		}
		return r, built
	}
	plain := "Bootstrap: docker\nFrom: " + ref + " # the source\n\n%runscript\n    cat /etc/which \"$@\"\n"
	one, built := make(plain)
	if !built || one.File != "storage__1.7.0.sif" || one.Kind != KindDefinitionFile || one.Source != ref || one.Digest == "" {
		t.Errorf("built %v: %+v", built, one)
	}
	if got := a.run("run", b.Folder.Path(one.File)); got != "one" {
		t.Errorf("it says %q", got)
	}
	if got := a.run("inspect", "--deffile", b.Folder.Path(one.File)); !strings.Contains(got, one.Digest) {
		t.Errorf("the digest is not in it:\n%s", got)
	}
	if again, built := make(plain); built || again != one {
		t.Errorf("built again, though nothing has changed: %+v", again)
	}
	edited, built := make(plain + "\n%labels\n    a b\n")
	if !built || edited.BuildKey == one.BuildKey || edited.Digest != one.Digest {
		t.Errorf("an edit: built %v: %+v", built, edited)
	}
	push(t, host, "1.7.0", "amd64", busyboxLayer(t, busybox), layerOf(t, regular("etc/which", "two")))
	two, built := make(plain)
	if !built || two.Digest == one.Digest || two.BuildKey == one.BuildKey {
		t.Errorf("a new digest: built %v: %+v", built, two)
	}
	if got := a.run("run", b.Folder.Path(two.File)); got != "two" {
		t.Errorf("it says %q", got)
	}
}

func TestDefinitionForARM64IsBuiltUnderEmulation(t *testing.T) {
	busybox := apptainertest.ARM64(t)
	a, b := hosted(t)
	ref := push(t, quietRegistry(t), "1.0", "arm64", busyboxLayer(t, busybox))
	def := filepath.Join(t.TempDir(), "x.def")
	if err := os.WriteFile(def, []byte("Bootstrap: docker\nFrom: "+ref+"\n%post\n    /bin/busybox uname -m > /etc/made-on\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, _, err := b.BuildDefinitionFile(t.Context(), DefinitionFile{Name: "x", Version: "1.0", Platform: "linux/arm64", Path: def})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.run("exec", b.Folder.Path(r.File), "cat", "/etc/made-on"); got != "aarch64" || r.File != "x__1.0-arm64.sif" {
		t.Errorf("%s was made on %q", r.File, got)
	}
	_, _, err = b.BuildDefinitionFile(t.Context(), DefinitionFile{Name: "x", Version: "1.0", Platform: "linux/amd64", Path: def})
	if err == nil || !strings.Contains(err.Error(), "no image for linux/amd64") {
		t.Errorf("from an image for another architecture: %v", err)
	}
}

// A stand-in for apptainer leaves the definition that it was given as the SIF.
func TestWhatApptainerIsGiven(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in *--version) echo apptainer version 1.4.5; exit ;; *--help) echo --mksquashfs-args; exit ;; esac\nwhile [ $# -gt 2 ]; do shift; done\ncp \"$2\" \"$1\"\n"
	if err := os.WriteFile(filepath.Join(bin, "apptainer"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	engine, err := NewApptainer(t.Context(), command.Exec(testLog{t}), "")
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{Architecture: "amd64", OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	var pulled []string
	b := Builder{
		Folder: Folder(t.TempDir()), Run: command.Exec(testLog{t}), Engine: engine, Compression: Zstd, Warn: func(s string) { warned = append(warned, s) },
		Pull: func(_ context.Context, ref string, _ v1.Platform) (v1.Image, error) {
			pulled = append(pulled, ref)
			return img, nil
		},
	}
	for _, c := range []struct{ text, pulled, source, given string }{
		{"Bootstrap: docker\nFrom: r.example.org/a:1 # here\n%post\nx\n", "r.example.org/a:1", "r.example.org/a:1", "Bootstrap: docker\nFrom: r.example.org/a@DIGEST\n%post\nx\n"},
		{"Bootstrap: docker\nRegistry: r.example.org\nNamespace: n\nFrom: a:1\n", "r.example.org/n/a:1", "r.example.org/n/a:1", "Bootstrap: docker\n#\n#\nFrom: r.example.org/n/a@DIGEST\n"},
		{"Bootstrap: docker\nFrom: r.example.org/a:{{ V }}\n%arguments\n  V=3.17\n%post\necho {{ V }}\n", "r.example.org/a:3.17", "r.example.org/a:3.17", "Bootstrap: docker\nFrom: r.example.org/a@DIGEST\n%arguments\n  V=3.17\n%post\necho {{ V }}\n"},
		{"Bootstrap: library\nFrom: ubuntu:22.04\n", "", "library://ubuntu:22.04", "Bootstrap: library\nFrom: ubuntu:22.04\n"},
		{"Bootstrap: scratch\n%files\na /a\n", "", "scratch", "Bootstrap: scratch\n%files\na /a\n"},
		{"Bootstrap: docker\nFrom: r.example.org/a:1\nStage: build\n\nBootstrap: localimage\nFrom: x.sif\n", "r.example.org/a:1", "localimage://x.sif", "Bootstrap: docker\nFrom: r.example.org/a@DIGEST\nStage: build\n\nBootstrap: localimage\nFrom: x.sif\n"},
	} {
		pulled, warned = nil, nil
		def := filepath.Join(t.TempDir(), "tool.def")
		if err := os.WriteFile(def, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, built, err := b.BuildDefinitionFile(t.Context(), DefinitionFile{Name: "tool", Version: "1", Platform: "linux/amd64", Path: def, Inputs: []image.Input{{Kind: "file", Digest: c.text}}})
		if err != nil || !built {
			t.Errorf("%q: %v, %v", c.text, built, err)
			continue
		}
		given, err := os.ReadFile(b.Folder.Path(r.File))
		if want := strings.ReplaceAll(c.given, "DIGEST", digest.String()); err != nil || string(given) != want {
			t.Errorf("%q: apptainer is given %q, %v", c.text, given, err)
		}
		if strings.Join(pulled, " ") != c.pulled || r.Source != c.source {
			t.Errorf("%q: asked for %q, source %q", c.text, pulled, r.Source)
		}
		if pinned := r.Digest == digest.String(); pinned == (len(warned) > 0) || !pinned && r.Digest != "" {
			t.Errorf("%q: digest %q, said %q", c.text, r.Digest, warned)
		}
	}
}

func TestDefinitionNeedsApptainer(t *testing.T) {
	b := native(t)
	_, _, err := b.BuildDefinitionFile(t.Context(), DefinitionFile{Name: "x", Path: "x.def"})
	if err == nil || !strings.Contains(err.Error(), "--engine=apptainer") {
		t.Errorf("got %v", err)
	}
}
