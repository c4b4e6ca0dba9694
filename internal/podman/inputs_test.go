package podman

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/image"
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
	return Container{
		Name: "hello", Platform: "linux/amd64", Target: "x86_64_v3", Lock: lock, Strip: true,
		FirstRoot: func([]string) (int, error) { return 0, nil },
	}
}

func key(t *testing.T, c Container, runtimeKey string) string {
	t.Helper()
	record, err := c.Describe(runtimeKey)
	if err != nil {
		t.Fatal(err)
	}
	return record.BuildKey
}

// Regression 12 of the predecessor: what a container is made of is in its build key, and what found it out is not.
func TestTheBuildKeyIsOfAllThatTheImageIsMadeOf(t *testing.T) {
	before := key(t, hello(t), "runtime")
	for what, change := range map[string]func(*Container){
		"a file":       func(c *Container) { c.Inputs = []image.Input{{Kind: "file", Name: "x", Digest: "y"}} },
		"the platform": func(c *Container) { c.Platform = "linux/arm64" },
		"the target":   func(c *Container) { c.Target = "x86_64_v4" },
		"the specs": func(c *Container) {
			c.Lock = bytes.ReplaceAll(c.Lock, []byte("tg7fcw2k2donquj6oubqz3j3q66inupa"), []byte("tg7fcw2k2donquj6oubqz3j3q66inupb"))
		},
	} {
		c := hello(t)
		change(&c)
		if key(t, c, "runtime") == before {
			t.Errorf("%s changes, and the build key does not", what)
		}
	}
	if key(t, hello(t), "another runtime") == before {
		t.Error("the base image changes, and the build key does not")
	}
	c := hello(t)
	c.Lock = bytes.Replace(c.Lock, []byte("9cf66332df3dd988248617fc93400045be59ebab"), []byte("0000000000000000000000000000000000000000"), 1)
	if bytes.Equal(c.Lock, hello(t).Lock) || key(t, c, "runtime") != before {
		t.Error("another commit of Spack that finds the same specs changes the build key")
	}
}

// The base images' keys see names, hidden files, folders and modes, as the predecessor's checksums did not.
func TestTheKeyOfABaseImageIsOfAllItsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runtime")
	keyOf := func() string {
		t.Helper()
		key, err := Base{Name: Runtime, Platform: "linux/amd64", Dir: dir, From: "x@sha256:1"}.key()
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

func TestCompareNamesWhatChanged(t *testing.T) {
	before := []image.Input{{Kind: "file", Name: "a", Digest: "1"}, {Kind: "file", Name: "gone", Digest: "1"}, {Kind: "root", Name: "zlib", Digest: "1.2/aaa"}, {Kind: "platform", Digest: "p"}}
	after := []image.Input{{Kind: "platform", Digest: "p"}, {Kind: "root", Name: "zlib", Digest: "1.3/bbb"}, {Kind: "file", Name: "a", Digest: "2"}, {Kind: "file", Name: "new", Digest: "1"}}
	var got []string
	for _, c := range Compare(before, after) {
		got = append(got, c.String())
	}
	want := "file a changed, file gone is gone, file new is new, root zlib: 1.2/aaa → 1.3/bbb"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	if changes := Compare(after, after); len(changes) > 0 {
		t.Errorf("got %v for the same inputs", changes)
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
		{"hello", "linux/amd64", "RUN", "", 0, 10, false},
		{"hello", "linux/amd64", "spack install", "zlib-1.3", 0, 10, false},
		{"hello", "linux/amd64", "spack install", "hdf5-1", 1, 7, false},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v, want %v", got, want)
	}
}
