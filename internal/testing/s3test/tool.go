package s3test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// A tool is a server program, built from its module at one version.
type tool struct {
	pkg     string // of its main function
	version string
}

var (
	minio     = tool{"github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c"}
	versitygw = tool{"github.com/versity/versitygw/cmd/versitygw", "v1.8.0"}
)

var tools = []tool{versitygw, minio}

func (t tool) name() string { return path.Base(t.pkg) }

// binary is where the program is kept: outside of any checkout, under the
// version, so that a newer one is built beside it.
func (t tool) binary() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "spacktainers", "tools", t.name()+"-"+t.version), nil
}

// find returns the program that Build has built.
func (t tool) find() (string, error) {
	binary, err := t.binary()
	if err == nil {
		_, err = os.Stat(binary)
	}
	if err != nil {
		return "", fmt.Errorf("needs %s: run go run ./internal/testing/s3test/cmd/s3servers (%w)", t.name(), err)
	}
	return binary, nil
}

// Build builds the servers that are not there yet, minutes each, with only
// the Go module proxy. It says on out what it does.
func Build(ctx context.Context, out io.Writer) error {
	for _, t := range tools {
		if err := t.build(ctx, out); err != nil {
			return fmt.Errorf("build %s: %w", t.name(), err)
		}
	}
	return nil
}

func (t tool) build(ctx context.Context, out io.Writer) error {
	binary, err := t.binary()
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(binary), "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "building %s %s\n", t.name(), t.version)
	cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags=-s -w", t.pkg+"@"+t.version)
	cmd.Dir = dir // no go.mod
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, t.name()), binary) // whole, or not there
}
