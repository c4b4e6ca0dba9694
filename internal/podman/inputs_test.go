package podman

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const lockOfHello = "../../testdata/spack/v3-unsigned/locks/env-hello.spack.lock"

func hello(t *testing.T) Container {
	t.Helper()
	lock, err := os.ReadFile(lockOfHello)
	if err != nil {
		t.Fatal(err)
	}
	c := Container{Container: container.Container{Name: "hello", Platform: "linux/amd64", Target: "x86_64_v3", Strip: true}}
	if err := c.SetLock(lock); err != nil {
		t.Fatal(err)
	}
	return c
}

// The base images' keys see names, hidden files, folders and modes, as the predecessor's checksums
// did not.
func TestTheKeyOfABaseImageIsOfAllItsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runtime")
	keyOf := func() string {
		t.Helper()
		key, err := Base{Name: Runtime, Platform: "linux/amd64", Files: os.DirFS(dir), From: "x@sha256:1"}.key()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	seen := map[string]string{}
	look := func(what string) {
		t.Helper()
		key := keyOf()
		if before, ok := seen[key]; ok {
			t.Errorf("%s: the same key as %s", what, before)
		}
		seen[key] = what
	}
	write(t, dir+"/Dockerfile", "FROM x")
	look("a Dockerfile")
	write(t, dir+"/.hidden", "")
	look("a hidden file")
	write(t, dir+"/sub/file", "")
	look("a file in a folder")
	if err := os.Rename(dir+"/sub/file", dir+"/sub/other"); err != nil {
		t.Fatal(err)
	}
	look("another name")
	if err := os.Chmod(dir+"/sub/other", 0o755); err != nil {
		t.Fatal(err)
	}
	look("a program")
	if err := os.Chmod(dir+"/sub/other", 0o700); err != nil {
		t.Fatal(err)
	}
	if seen[keyOf()] != "a program" {
		t.Error("the umask of whoever checked out is in the key")
	}
}

func TestNothingIsUnpackedOutsideOfItsFolder(t *testing.T) {
	for _, header := range []tar.Header{
		{Name: "../out", Typeflag: tar.TypeReg},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := unpack(&archive, t.TempDir()); err == nil {
			t.Errorf("%s is unpacked", header.Name)
		}
	}
}

func TestEventsTellStepsAndPackages(t *testing.T) {
	var got []Event
	e := Engine{Watch: func(ev Event) { got = append(got, ev) }}
	w := &watcher{log: &bytes.Buffer{}, event: e.event(hello(t))}
	text := "[1/2] STEP 3/4: RUN --mount=x\n==> Installing zlib-1.3-" + strings.Repeat("a", 32) + "\n[+] /opt/zlib\n==> Installing hdf5-1-" + strings.Repeat("b", 32) + " [2/7]\n"
	for _, part := range []string{text[:20], text[20:60], text[60:]} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	want := []Event{
		{"hello", "linux/amd64", "RUN", "", 0, 10, "", false},
		{"hello", "linux/amd64", "spack install", "zlib-1.3", 0, 10, "", false},
		{"hello", "linux/amd64", "spack install", "hdf5-1", 1, 7, "", false},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v, want %v", got, want)
	}
}
