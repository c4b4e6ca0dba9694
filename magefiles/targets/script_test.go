package targets

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/doctor"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// The commands are specified by the scripts in testdata/script, which read
// like a manual. They run the targets as a user does: compiled by stock mage,
// in a repository of their own.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin, err := compiled()
	if err != nil {
		t.Fatalf("compile the targets: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join(root, "testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("CACHES", filepath.Join(root, "testdata", "spack"))
			env.Setenv("KEY", filepath.Join(root, quickstartKey))
			return privatePodman(env)
		},
		Condition: func(condition string) (bool, error) { return hasTool(condition) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"flip": flipByte, "replace": replaceText, "mkbase": makeBase, "standin": makeStandin, "clonespack": cloneSpack, "mkdebian": makeDebian, "sshd": startSSHD, "mkkeys": makeKeys,
			"registry": startRegistry,
		},
	})
}

// startRegistry starts a registry on loopback, in REGISTRY: registry.
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
}

// hasTool is the condition [tool:NAME], beside [all], [long], [emulation] and [spack]. Where tools are
// required, a missing one fails the script instead of skipping it.
func hasTool(condition string) (bool, error) {
	name, ok := strings.CutPrefix(condition, "tool:")
	switch condition {
	case "all":
		return size.Of() >= size.All, nil
	case "long":
		return size.Of() >= size.Long, nil
	case "emulation":
		return emulates()
	case "spack":
		return os.Getenv(spackVariable) != "", nil
	}
	if !ok {
		return false, fmt.Errorf("unknown condition %q", condition)
	}
	_, err := exec.LookPath(name)
	if err != nil && tooltest.Required() {
		return false, fmt.Errorf("needs %s, which must not be missing here", name)
	}
	return err == nil, nil
}

// privatePodman keeps podman's images and settings of a script in its folder. Where the path of a
// runroot has more than 50 letters, podman run does not see its container end, and waits for 20
// seconds more: so that has a short name.
func privatePodman(env *testscript.Env) error {
	storage := filepath.Join(env.WorkDir, ".podman")
	conf := filepath.Join(env.WorkDir, ".storage.conf")
	driver := "vfs"
	if os.Getuid() == 0 {
		driver = "overlay" // ten times as fast
	}
	text := fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = %q\n", driver, storage, filepath.Join(env.WorkDir, ".run"))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	env.Setenv("CONTAINERS_STORAGE_CONF", conf)
	none := func(string) bool { return false }
	vars, err := doctor.Here(filepath.Join(env.WorkDir, ".doctor"), command.Exec(os.Stderr), none).PodmanEnv()
	for _, assignment := range vars {
		name, value, _ := strings.Cut(assignment, "=")
		env.Setenv(name, value)
	}
	return err
}

// makeBase writes a base image with busybox as its shell: mkbase DIR.
func makeBase(ts *testscript.TestScript, neg bool, args []string) {
	busybox, err := exec.LookPath("busybox")
	ts.Check(err)
	program, err := os.ReadFile(busybox)
	ts.Check(err)
	var body bytes.Buffer
	w := tar.NewWriter(&body)
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777},
	} {
		ts.Check(w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write(program)
			ts.Check(err)
		}
	}
	ts.Check(w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body.Bytes())), nil })
	ts.Check(err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	ts.Check(err)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers", DiffIDs: diffIDs(ts, img)}, Config: v1.Config{Cmd: []string{"sh"}}})
	ts.Check(err)
	path, err := layout.Write(ts.MkAbs(args[0]), empty.Index)
	ts.Check(err)
	ts.Check(path.AppendImage(img))
}

func diffIDs(ts *testscript.TestScript, img v1.Image) []v1.Hash {
	config, err := img.ConfigFile()
	ts.Check(err)
	return config.RootFS.DiffIDs
}

// flipByte damages the files that match a pattern: flip PATTERN.
func flipByte(ts *testscript.TestScript, neg bool, args []string) {
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		ts.Check(err)
		data[len(data)/2] ^= 0x40
		ts.Check(os.Chmod(path, 0o644))
		ts.Check(os.WriteFile(path, data, 0o644))
	}
}

// replaceText replaces text in a file: replace FILE OLD NEW.
func replaceText(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	if !strings.Contains(string(data), args[1]) {
		ts.Fatalf("%s does not contain %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(string(data), args[1], args[2])), 0o644))
}
