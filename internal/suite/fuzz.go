package suite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A fuzzTest is one of the functions that throw noise at a reader.
type fuzzTest struct{ pkg, name string }

// time is how long it runs: a minute for what reads a build cache, on which others rely, and a while elsewhere.
func (f fuzzTest) time() time.Duration {
	if strings.HasPrefix(f.pkg, "./buildcache") {
		return time.Minute
	}
	return 15 * time.Second
}

// fuzz runs every fuzz test for a while, where minutes do not matter: on CI.
func fuzz(ctx context.Context, o Options) (string, error) {
	if !o.RequireTools {
		return "skipped: takes minutes: set " + RequireVariable + "=1", nil
	}
	tests, err := fuzzTests(os.DirFS(o.dir()))
	errs := []error{err}
	for _, f := range tests {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		args := []string{"go", "test", "-run=^$", "-fuzz=^" + f.name + "$", "-fuzztime=" + f.time().String(),
			"-fuzzminimizetime=5x", // else a minute goes by in shortening the first inputs
			f.pkg}
		if out, err := command.Output(ctx, o.Run, command.Cmd{Args: args, Dir: o.Dir}); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w\n%s", f.pkg, f.name, err, out))
		}
	}
	return fmt.Sprintf("%d fuzz tests", len(tests)), errors.Join(errs...)
}

func (o Options) dir() string {
	if o.Dir == "" {
		return "."
	}
	return o.Dir
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// fuzzTests finds the fuzz tests of a module. It passes over what the go command passes over.
func fuzzTests(tree fs.FS) ([]fuzzTest, error) {
	var found []fuzzTest
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.ContainsAny(d.Name()[:1], "._") || slices.Contains([]string{"testdata", "out"}, d.Name())):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		for _, m := range fuzzFunc.FindAllSubmatch(text, -1) {
			found = append(found, fuzzTest{"./" + filepath.ToSlash(filepath.Dir(path)), string(m[1])})
		}
		return nil
	})
	return found, err
}
