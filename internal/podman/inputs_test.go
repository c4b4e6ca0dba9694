package podman

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// What podman says is put into words, and what the versions of Spack say is read: 0.21 does not count,
// 0.22 to 1.1 do, and 1.2 works on several packages at a time.
func TestEventsTellStepsAndPackages(t *testing.T) {
	var got []Event
	e := Engine{Watch: func(ev Event) { got = append(got, ev) }}
	w := &watcher{log: &bytes.Buffer{}, event: e.event(hello(t), "install")}
	text := "[1/2] STEP 2/4: COPY spack.* /x\n[1/2] STEP 3/4: RUN --mount=x\n==> Installing zlib-1.3-" + strings.Repeat("a", 32) + "\n[+] /opt/zlib\n==> Installing hdf5-1-" + strings.Repeat("b", 32) + " [2/7]\n" +
		"[ ] 2zdsvxn qs-tls@3.3 fetching\n[2/2] STEP 1/9: FROM runtime\n"
	for _, part := range []string{text[:20], text[20:60], text[60:]} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	want := []Event{
		{"hello", "linux/amd64", "preparing", "", 0, 0, "", false},
		{"hello", "linux/amd64", "installing", "", 0, 0, "", false},
		{"hello", "linux/amd64", "installing", "zlib-1.3", 0, 10, "", false},
		{"hello", "linux/amd64", "installing", "hdf5-1", 1, 7, "", false},
		{"hello", "linux/amd64", "installing", "qs-tls-3.3", 1, 10, "", false},
		{"hello", "linux/amd64", "putting the container together", "", 0, 0, "", false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEventsOfABaseImageTellWhatAptDoes(t *testing.T) {
	var got []Event
	b := Base{Name: Builder, Platform: "linux/amd64", Watch: func(ev Event) { got = append(got, ev) }}
	event := b.baseEvent()
	for line := range strings.Lines("STEP 1/9: FROM x\n0 upgraded, 2 newly installed, 0 to remove and 3 not upgraded.\nSetting up gcc (4:12.2.0-3) ...\nSetting up git (1:2.39) ...\nSTEP 4/9: RUN spacktainers setup\n") {
		event(strings.TrimSpace(line))
	}
	who := "base image builder"
	want := []Event{
		{who, "linux/amd64", "preparing", "", 0, 0, "", false},
		{who, "linux/amd64", "downloading system packages", "", 0, 0, "", false},
		{who, "linux/amd64", "installing system packages", "", 1, 2, "", false},
		{who, "linux/amd64", "installing system packages", "", 2, 2, "", false},
		{who, "linux/amd64", "setting up Spack", "", 0, 0, "", false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What mmdebstrap 1.3 says, shortened: it installs twice, and says only the second time how much that is.
func TestABootstrapIsCountedInPackages(t *testing.T) {
	said := `I: automatically chosen mode: root
I: running apt-get update...
Get:1 http://debian.example.org/debian bookworm InRelease [151 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Need to get 29.7 MB of archives.
Get:1 http://debian.example.org/debian bookworm/main amd64 gcc-12-base amd64 12.2.0-14+deb12u1 [37.6 kB]
Get:2 http://debian.example.org/debian bookworm/main amd64 libc6 amd64 2.36-9+deb12u14 [2757 kB]
Fetched 29.7 MB in 1s (52.8 MB/s)
I: extracting archives...
I: installing essential packages...
Setting up gcc-12-base:amd64 (12.2.0-14+deb12u1) ...
Setting up libc6:amd64 (2.36-9+deb12u14) ...
I: installing remaining packages inside the chroot...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://debian.example.org/debian bookworm/main amd64 ca-certificates all 20230311 [153 kB]
Setting up ca-certificates (20230311) ...
I: cleaning package lists and apt cache...
I: creating tarball...
`
	want := []string{"downloading packages 1 of 2", "downloading packages 2 of 2", "unpacking 0 of 0", "installing packages 1 of 2", "installing packages 2 of 2",
		"downloading packages 3 of 3", "installing packages 3 of 3", "writing the system 0 of 0"}
	if diff := cmp.Diff(want, bootstrapped(said)); diff != "" {
		t.Error(diff)
	}
	if got := bootstrapped("Setting up x (1) ...\nsomething else\n"); len(got) != 1 || got[0] != "installing packages 0 of 0" {
		t.Errorf("of an unknown number: %q", got)
	}
}

// bootstrapped is what a person hears of what mmdebstrap says.
func bootstrapped(said string) (heard []string) {
	b := Base{Name: Runtime, Platform: "linux/amd64", Watch: func(e Event) {
		heard = append(heard, fmt.Sprintf("%s %d of %d", strings.TrimPrefix(e.Step, stepBootstrap+": "), e.Installed, e.Of))
	}}
	event := b.bootstrapEvent()
	for line := range strings.Lines(said) {
		event(strings.TrimSuffix(line, "\n"))
	}
	return heard
}
