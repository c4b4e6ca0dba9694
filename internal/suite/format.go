package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	gofmt "go/format"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// format names the files that gofmt would change.
func format(ctx context.Context, o Options) (string, error) {
	files, err := goFiles(ctx, o)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(o.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed, but not yet committed
		}
		if err != nil {
			return "", err
		}
		formatted, err := gofmt.Source(content)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		case !bytes.Equal(formatted, content):
			errs = append(errs, fmt.Errorf("%s: gofmt would change it", name))
		}
	}
	return "", errors.Join(errs...)
}

// goFiles lists the Go files that git tracks, or all where there is no git. What the go command
// skips, it skips.
func goFiles(ctx context.Context, o Options) ([]string, error) {
	out, err := command.Output(ctx, o.Run, command.Cmd{
		Args: []string{"git", "ls-files", "-z", "--", "*.go"}, Dir: o.Dir, Stderr: io.Discard, // no git is no error
	})
	var all []string
	if err == nil {
		all = strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	} else if all, err = walk(o.Dir); err != nil {
		return nil, err
	}
	var files []string
	for _, name := range all {
		if name != "" && !ignored(filepath.Dir(name)) {
			files = append(files, name)
		}
	}
	return files, nil
}

func walk(dir string) (files []string, err error) {
	if dir == "" {
		dir = "."
	}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && ignored(name):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go"):
			files = append(files, name)
		}
		return nil
	})
	return files, err
}

func ignored(dir string) bool {
	for part := range strings.SplitSeq(filepath.ToSlash(dir), "/") {
		if part == "testdata" || part == "out" || part != "." && strings.HasPrefix(part, ".") || strings.HasPrefix(part, "_") {
			return true
		}
	}
	return false
}
