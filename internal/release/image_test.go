package release

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

const status = `Package: podman
Status: install ok installed
Description: engine
 more of it: here
Architecture: amd64
Version: 1:4.3.1+ds1-8

Package: gone
Status: deinstall ok config-files
Version: 1

Package: git
Status: install ok installed
Architecture: amd64
Version: 2.39.5
`

// system writes a root file system with a list of packages.
func system(_ context.Context, _, path string) error {
	at := time.Unix(1, 0)
	text, err := archive(map[string]file{"./var/lib/dpkg/status": {[]byte(status), 0o644}, "./usr/bin/podman": {nil, 0o755}}, at)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func TestTheSameSystemAndProgramGiveTheSameImage(t *testing.T) {
	size.Need(t, size.All) // it compiles
	var sums [2]string
	for i := range sums {
		dir := module(t)
		o := Options{Dir: dir, Package: "./cmd/program", Name: "program", Out: filepath.Join(dir, "out"), Platforms: []string{"linux/amd64"},
			Image: &Image{Root: system, Time: time.Unix(1700000000, 0), Labels: map[string]string{"a": "b"}, Volumes: []string{"/v"}, Files: map[string]string{"/etc/x": "y"}}}
		if _, err := Build(t.Context(), command.Exec(os.Stderr), o); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(o.Out, Checksums))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(text)
		checkImage(t, o.Out)
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "program-image-linux-amd64.tar") != 2 {
		t.Errorf("%s\nand\n%s", sums[0], sums[1])
	}
}

func checkImage(t *testing.T, out string) {
	t.Helper()
	path := filepath.Join(out, ImageFile("program", "linux/amd64"))
	img, key, err := OpenImage(path)
	if err != nil || len(key) != 64 {
		t.Fatal(key, err)
	}
	config, err := img.ConfigFile()
	if err != nil || config.Architecture != "amd64" || config.Created.Unix() != 1700000000 || config.Config.Labels["a"] != "b" || len(config.Config.Volumes) != 1 {
		t.Errorf("%+v %v", config, err)
	}
	flat := mutate.Extract(img)
	defer flat.Close()
	modes := map[string]int64{}
	for r := tar.NewReader(flat); ; {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[strings.TrimPrefix(header.Name, "./")] = header.Mode
	}
	if modes["usr/local/bin/program"] != 0o755 || modes["etc/x"] != 0o644 || modes["usr/bin/podman"] != 0o755 {
		t.Error(modes)
	}
	bill, err := os.ReadFile(path + bill)
	if err != nil || !strings.Contains(string(bill), `"pkg:deb/debian/podman@1:4.3.1%2Bds1-8?arch=amd64"`) || !strings.Contains(string(bill), "pkg:golang/std@") || strings.Contains(string(bill), "gone") {
		t.Errorf("%s %v", bill, err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "*.part")); left != nil {
		t.Error(left)
	}
}

func TestASystemThatCannotBeMadeLeavesNoImage(t *testing.T) {
	out := t.TempDir()
	o := Options{Name: "program", Image: &Image{Root: func(context.Context, string, string) error { return errors.New("no archive") }}}
	_, err := o.image(t.Context(), out, "linux/arm64")
	if err == nil || err.Error() != "the system of the image for linux/arm64: no archive" {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Error(left)
	}
	if _, _, err := OpenImage(filepath.Join(out, ImageFile("program", "linux/arm64"))); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
