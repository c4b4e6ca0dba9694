// Package apptainertest lends tests a real apptainer. Debian 12 has none, so it
// runs in a root file system of Debian sid, which is made once and kept outside
// of any checkout. That takes root, on Linux.
package apptainertest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// version is part of the folder's name: with another one it is made anew.
const version = "1"

//go:embed enter.sh
var enter []byte

// programs are those of the root file system that tests may call.
var programs = []string{"apptainer", "unsquashfs"}

// home is where root, the root file system, and bin, the programs, are kept.
func home() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "spacktainers", "tools", "apptainer-"+version), nil
}

// Build makes the root file system, if it is not there yet: about a minute,
// with nothing but Debian's mirror. It says on out what it does.
func Build(ctx context.Context, out io.Writer) error {
	dir, err := home()
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	root := filepath.Join(part, "root")
	fmt.Fprintln(out, "installing apptainer into", dir)
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--variant=minbase", "--mode=root", "--architectures=amd64,arm64", "--include=apptainer,squashfs-tools,gpg,busybox-static:arm64",
		"--aptopt=Acquire::Check-Valid-Until \"false\"", "sid", root)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it unmounts what it has mounted
	cmd.WaitDelay = time.Minute
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mmdebstrap: %w", err)
	}
	// Apptainer reads the first two; the third is where the old system hangs for a moment.
	for name, text := range map[string]string{"etc/hosts": "127.0.0.1 localhost\n", "etc/resolv.conf": ""} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, folder := range []string{filepath.Join(root, ".outside"), filepath.Join(part, "bin")} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	for _, program := range programs {
		if err := os.WriteFile(filepath.Join(part, "bin", program), enter, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(part, 0o755); err != nil {
		return err
	}
	return os.Rename(part, dir) // whole, or not there
}

// ARM64 returns a busybox for arm64, and has the kernel run programs for that
// architecture, as Debian's qemu-user-static does on machines that boot.
func ARM64(t testing.TB) (busybox string) {
	t.Helper()
	busybox = filepath.Join(filepath.Dir(Dir(t)), "root", "usr", "bin", "busybox")
	if err := emulate(); err != nil {
		if tooltest.Required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if out, err := exec.CommandContext(t.Context(), busybox, "true").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", busybox, err, out)
	}
	return busybox
}

func emulate() error {
	const dir, handler = "/proc/sys/fs/binfmt_misc", "/usr/lib/binfmt.d/qemu-aarch64.conf"
	if runtime.GOARCH == "arm64" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, "qemu-aarch64")); err == nil {
		return nil
	}
	line, err := os.ReadFile(handler)
	if err != nil {
		return fmt.Errorf("needs qemu-user-static: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "register")); err != nil {
		if out, err := exec.Command("mount", "-t", "binfmt_misc", "binfmt_misc", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("emulate arm64: mount binfmt_misc: %w: %s", err, out)
		}
	}
	err = os.WriteFile(filepath.Join(dir, "register"), bytes.TrimSpace(line), 0o200)
	if err != nil && !errors.Is(err, fs.ErrExist) { // another test was faster
		return fmt.Errorf("emulate arm64: %w", err)
	}
	return nil
}

// Dir returns a folder for PATH with apptainer in it. Without one it ends the
// test: skipped aloud, or failed where tools are required.
func Dir(t testing.TB) string {
	t.Helper()
	size.Need(t, size.All)
	dir, err := Find()
	switch {
	case err == nil:
	case tooltest.Required():
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return dir
}

// Find is Dir without a test.
func Find() (string, error) {
	dir, err := home()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bin")
	if _, err := os.Stat(filepath.Join(bin, "apptainer")); err != nil {
		return "", fmt.Errorf("needs apptainer: run go run ./internal/testing/apptainertest/cmd/apptainer (%w)", err)
	}
	if os.Getuid() != 0 {
		return "", errors.New("needs root to run apptainer out of a root file system of its own")
	}
	return bin, nil
}
