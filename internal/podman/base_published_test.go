package podman

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// realPodman is podman with a storage of the test's own.
func realPodman(t *testing.T) Podman {
	t.Helper()
	size.Need(t, size.All)
	tooltest.Need(t, "podman")
	dir := t.TempDir()
	run, err := os.MkdirTemp("", "run-*") // short: see privatePodman of the scripts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	conf := filepath.Join(dir, "storage.conf")
	text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "storage"), run)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Podman{Run: command.Exec(os.Stderr), Env: []string{"CONTAINERS_STORAGE_CONF=" + conf}}
}

// A base image that is taken from a registry is the one that was saved: its ID is the digest of all
// that it says, ONBUILD lines too.
func TestABaseImageIsTakenAsItWasSaved(t *testing.T) {
	p := realPodman(t)
	b := Base{Name: Builder, Platform: "linux/amd64", Files: fstest.MapFS{"Dockerfile": {Data: []byte("FROM scratch")}}, From: "x@sha256:1"}
	key, err := b.key()
	if err != nil {
		t.Fatal(err)
	}
	var system bytes.Buffer
	w := tar.NewWriter(&system)
	if err := w.WriteHeader(&tar.Header{Name: "opt/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	imported := p.command("import", "--quiet", "--change=LABEL "+image.LabelBuildKey+"="+key, "-", b.Tag())
	imported.Stdin = &system
	if err := p.Run(t.Context(), imported); err != nil {
		t.Fatal(err)
	}
	before, err := p.inspect(t.Context(), b.Tag(), image.LabelBuildKey)
	if err != nil || before.Label != key {
		t.Fatalf("%+v %v", before, err)
	}
	img, err := p.Save(t.Context(), before.ID, filepath.Join(t.TempDir(), "builder.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if mediaType, err := img.MediaType(); err != nil || mediaType != types.DockerManifestSchema2 {
		t.Errorf("it is %s: %v", mediaType, err)
	}
	if err := p.Run(t.Context(), p.command("rmi", "--all", "--force")); err != nil {
		t.Fatal(err)
	}
	b.Published = func(context.Context, Base, string) (v1.Image, error) { return img, nil }
	plan, err := b.Plan(t.Context(), p, false)
	if err != nil || plan.ToTake == nil || plan.ToBuild {
		t.Errorf("planned %+v: %v", plan, err)
	}
	taken, err := plan.Apply(t.Context(), p, t.TempDir(), true)
	if err != nil || taken.ID != before.ID || taken.Key != key {
		t.Errorf("took %+v, want %+v: %v", taken, before, err)
	}
	if found, err := p.inspect(t.Context(), "localhost/builder", image.LabelBuildKey); err != nil || found.ID != before.ID {
		t.Errorf("builder is %+v: %v", found, err)
	}
}
