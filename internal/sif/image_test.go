package sif

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/testing/apptainertest"
)

// An entry is a tar entry and what is in it.
type entry struct {
	tar.Header
	text string
}

func folder(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}}
}

func regular(name, text string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, text: text}
}

func program(name, text string) entry {
	e := regular(name, text)
	e.Mode = 0o755
	return e
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

func layerOf(t testing.TB, entries ...entry) v1.Layer {
	t.Helper()
	var body bytes.Buffer
	w := tar.NewWriter(&body)
	for _, e := range entries {
		e.Size = int64(len(e.text))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return openLayer(t, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body.Bytes())), nil })
}

func openLayer(t testing.TB, open tarball.Opener) v1.Layer {
	t.Helper()
	layer, err := tarball.LayerFromOpener(open)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// busyboxLayer is a small system: a shell and its programs.
func busyboxLayer(t testing.TB, path string) v1.Layer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries := []entry{folder("bin"), program("bin/busybox", string(text)), folder("etc"), regular("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), regular("etc/group", "root:x:0:\n")}
	for _, name := range []string{"sh", "cat", "echo", "env", "ls", "true", "printf", "id", "test"} {
		entries = append(entries, symlink("bin/"+name, "busybox"))
	}
	return layerOf(t, entries...)
}

// put writes an image as a build would have left it.
func put(t testing.TB, arch string, config v1.Config, layers ...v1.Layer) (image.Tree, image.Record) {
	t.Helper()
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, "application/vnd.oci.image.manifest.v1+json"), layers...)
	if err != nil {
		t.Fatal(err)
	}
	img = mutate.ConfigMediaType(img, "application/vnd.oci.image.config.v1+json")
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", arch, config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	tree := image.Tree(t.TempDir())
	record, err := tree.Create("tool", "linux/"+arch, nil, func(dir string) (image.Record, error) {
		path, err := layout.Write(dir, empty.Index)
		if err != nil {
			return image.Record{}, err
		}
		digest, err := img.Digest()
		return image.Record{Name: "tool", Version: "1.0", Platform: "linux/" + arch, Digest: digest, BuildKey: "key", Lock: "lock"}, errors.Join(err, path.AppendImage(img))
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree, record
}

// native is a builder that works without apptainer, or the test is skipped.
func native(t testing.TB) Builder {
	t.Helper()
	for _, p := range packers {
		if _, err := exec.LookPath(p.program); err == nil {
			return Builder{Folder: Folder(t.TempDir()), Run: command.Exec(testLog{t}), Engine: Native{p}, Compression: Zstd}
		}
	}
	needPacker(t, packers[0])
	return Builder{}
}

type testLog struct{ testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// build makes a SIF and returns its path.
func build(t testing.TB, b Builder, arch string, config v1.Config, layers ...v1.Layer) string {
	t.Helper()
	tree, record := put(t, arch, config, layers...)
	r, _, err := b.Build(t.Context(), tree, record, "")
	if err != nil {
		t.Fatal(err)
	}
	return b.Folder.Path(r.File)
}

// An apptainer runs the real one.
type apptainer struct {
	testing.TB
	bin string
}

func needApptainer(t testing.TB) apptainer { return apptainer{t, apptainertest.Dir(t)} }

func (a apptainer) try(args ...string) (string, error) {
	return command.Output(a.Context(), command.Exec(testLog{a.TB}), command.Cmd{Args: append([]string{filepath.Join(a.bin, "apptainer")}, args...)})
}

func (a apptainer) run(args ...string) string {
	a.Helper()
	out, err := a.try(args...)
	if err != nil {
		a.Fatal(err)
	}
	return out
}
