package targets

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// clone copies what a clone of the repository would hold.
func clone(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, below)
		switch {
		case below == ".git" || below == "out":
			return skip(d)
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(to, target)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil // a worktree's .git is a file
}

// The README's first command, in a fresh clone, with nothing compiled before,
// by a user who is not root, without a network or any program but Go's.
func TestQuickstartNeedsGoAlone(t *testing.T) {
	size.Need(t, size.All) // compiles everything anew, which takes minutes
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user without a network")
	}
	unshare, setpriv, ip := tooltest.Need(t, "unshare"), tooltest.Need(t, "setpriv"), tooltest.Need(t, "ip")
	dir := clone(t)
	goPath, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := exec.Command(goPath, "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for _, sub := range []string{"modules", "tmp"} {
		if err := os.Mkdir(filepath.Join(home, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	for _, tree := range []string{dir, home} {
		chownAll(t, tree, nobody)
	}
	openParents(t, home)
	openParents(t, dir)
	// The module cache may lie in root's home: it is shown at another place, in
	// a mount namespace of our own, read by nobody's programs alone.
	cmd := exec.Command(unshare, "--net", "--mount", "sh", "-euc", `
		"$1" link set lo up
		mount --bind "$2" "$3/modules"
		cd "$4"
		exec "$5" --reuid=65534 --regid=65534 --clear-groups env -i HOME="$3" TMPDIR="$3/tmp" \
			PATH="$6" GOMODCACHE="$3/modules" GOPROXY=off GOFLAGS="-buildvcs=false -modcacherw" \
			go run magefile.go quickstart`,
		"sh", ip, strings.TrimSpace(string(modules)), home, dir, setpriv, filepath.Dir(goPath))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &stdout, &stderr)
	}
	t.Logf("took %v, compilation included", time.Since(began).Round(time.Second))
	for _, want := range []string{"7 packages in 8 layers", "signatures verified", "/spacktainers/hello-spack:1.1", "\n\nNext:\n  mage -l"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the quickstart did not say %q:\n%s", want, &stdout)
		}
	}
}

func chownAll(t *testing.T, dir string, id int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, id, id))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openParents lets others pass to a folder of this test.
func openParents(t *testing.T, dir string) {
	t.Helper()
	for parent := filepath.Dir(dir); parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// SIGTERM to the program that was called, mage or the go command, ends the
// target too, which cleans up.
func TestTerminationReachesTheTarget(t *testing.T) {
	size.Need(t, size.All) // compiles the targets twice
	// A registry that takes a question and never answers.
	asked, gone := make(chan struct{}, 10), make(chan struct{}, 10)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	defer server.Close()
	for _, call := range [][]string{{"go", "tool", "mage"}, {"go", "run", "magefile.go"}} {
		t.Run(strings.Join(call, " "), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			args := append(call[1:], "containers:build", "hello-spack", "--mirror="+quickstartMirror, "--base="+listener.Addr().String()+"/base:1")
			cmd := exec.CommandContext(ctx, call[0], args...)
			cmd.Dir = clone(t)
			if err := os.CopyFS(filepath.Join(cmd.Dir, "container_definitions"), os.DirFS(filepath.Join(cmd.Dir, "testdata/quickstart/container_definitions"))); err != nil {
				t.Fatal(err)
			}
			cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-asked:
			case err := <-ended:
				t.Fatalf("ended before it asked for the base image: %v", err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			<-gone                                              // the target has let go of its connection
			if err := <-ended; err == nil && call[1] == "run" { // of `go tool` Go 1.26 makes status 0
				t.Error("a terminated call ended with status 0")
			}
			if _, err := os.Stat(filepath.Join(cmd.Dir, "out/images/hello-spack/linux-amd64")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a terminated build left an image: %v", err)
			}
		})
	}
}
