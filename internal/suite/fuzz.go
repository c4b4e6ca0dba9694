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

// fuzzBudget is what all fuzz tests together take of test --all, to which their compilation comes.
const fuzzBudget = 2 * time.Minute

// fuzzTime is how long each of n fuzz tests runs. What reads a build cache, on which others rely,
// runs twice as long.
func (f fuzzTest) time(size Size, n int) time.Duration {
	if size == Long {
		return 10 * time.Minute
	}
	share := max(fuzzBudget/time.Duration(2*n), 2*time.Second)
	if strings.HasPrefix(f.pkg, "./buildcache") {
		share *= 2
	}
	return share.Round(time.Second)
}

// fuzz runs every fuzz test for a while.
func fuzz(ctx context.Context, o Options) (string, error) {
	tests, err := fuzzTests(os.DirFS(o.dir()))
	errs := []error{err}
	for _, f := range tests {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		args := []string{"go", "test", "-run=^$", "-fuzz=^" + f.name + "$", "-fuzztime=" + f.time(o.Size, len(tests)).String(),
			"-fuzzminimizetime=5x", // else a minute goes by in shortening the first inputs
			f.pkg}
		if out, err := command.Output(ctx, o.Run, command.Cmd{Args: args, Dir: o.Dir}); err != nil && !onlyTimeUp(out) {
			errs = append(errs, fmt.Errorf("%s %s: %w\n%s", f.pkg, f.name, err, out))
		}
	}
	return fmt.Sprintf("%d fuzz tests", len(tests)), errors.Join(errs...)
}

// onlyTimeUp reports whether a fuzz test failed for nothing but the end of its time, which Go
// before 1.27 takes for a failure now and then (go.dev/issue/75804): what is found by fuzzing is
// written to a file, and the file named.
func onlyTimeUp(out string) bool {
	_, failure, _ := strings.Cut(out, "--- FAIL: ")
	_, why, _ := strings.Cut(failure, "\n")
	return strings.HasPrefix(strings.TrimSpace(why), "context deadline exceeded\nFAIL\n")
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
