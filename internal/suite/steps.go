package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// analyse runs a checker on the module, and on the two files that only mage and go run see.
func analyse(checker ...string) func(context.Context, Options) (string, error) {
	return func(ctx context.Context, o Options) (string, error) {
		var errs []error
		for _, target := range o.packages() {
			c := command.Cmd{Args: slices.Concat(checker, target), Dir: o.Dir, Stdout: o.Out}
			errs = append(errs, o.Run(ctx, c))
		}
		return "", errors.Join(errs...)
	}
}

func (o Options) packages() [][]string {
	list := [][]string{{"./..."}}
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "magefiles", "*.go")); len(files) > 0 {
		list = append(list, []string{"-tags=mage", "./magefiles"})
	}
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "magefile.go")); len(files) > 0 {
		list = append(list, []string{"magefile.go"})
	}
	return list
}

// vulnerabilities asks the database of known ones. Without a network there is no one to ask, which
// is not our failure.
func vulnerabilities(ctx context.Context, o Options) (string, error) {
	database := o.Vulnerabilities
	if database == "" {
		database = "https://vuln.go.dev"
	}
	if err := reach(ctx, database+"/index/modules.json"); err != nil {
		return "skipped: database not reachable", nil
	}
	return "", o.Run(ctx, command.Cmd{
		Args: []string{"go", "tool", "govulncheck", "-db=" + database, "./..."}, Dir: o.Dir, Stdout: o.Out,
	})
}

func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // a HEAD has none
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// torture has random histories happen to the janitor, without the race detector, under which they
// take ten times as long.
func torture(ctx context.Context, o Options) (string, error) {
	out, err := command.Output(ctx, o.Run, command.Cmd{
		Args: []string{"go", "test", "-count=1", "-v", "-timeout=" + timeouts[o.Size], "-run=^TestHistories$", "./internal/testing/torture"},
		Dir:  o.Dir, Env: []string{SizeVariable + "=" + o.Size.String()},
	})
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return histories.FindString(out), nil
}

// histories is what the torture says at its end of what it has tried.
var histories = regexp.MustCompile(`\d+ histories from seed .*`)

// timeouts are for the tests of one package. A test that hangs is ended and named.
var timeouts = map[Size]string{Quick: "10m", All: "40m", Long: "24h"}

// test runs the tests into r. Its error is what the counts do not show.
func test(ctx context.Context, o Options, r *report) error {
	c := command.Cmd{
		Args: []string{"go", "test", "-json", "-timeout=" + timeouts[o.Size]}, Dir: o.Dir, Stdout: r,
		Env: []string{SizeVariable + "=" + o.Size.String()},
	}
	if o.RequireTools {
		c.Args = append(c.Args, "-count=1") // a remembered pass says nothing about this machine
		c.Env = append(c.Env, RequireVariable+"=1")
	}
	var noRace error
	if o.Size == Quick {
		c.Args = append(c.Args, "-short", "-vet=off") // test --all vets
		fmt.Fprintf(o.Out, "left out  the race detector: it is part of test --%v\n", All)
	} else if noRace = canRace(ctx, o); noRace == nil {
		c.Args = append(c.Args, "-race")
	} else {
		fmt.Fprintf(o.Out, "without the race detector, which needs cgo and a C compiler: %v\n", noRace)
	}
	c.Args = append(c.Args, "./...")
	err := o.Run(ctx, c)
	switch {
	case r.failed > 0:
		return fmt.Errorf("%d failed", r.failed)
	case err != nil:
		return err
	case noRace != nil && o.RequireTools:
		return fmt.Errorf("%s=1 requires the race detector", RequireVariable)
	}
	return nil
}

// canRace builds the one part of the race detector's runtime that needs a C compiler with its
// headers.
func canRace(ctx context.Context, o Options) error {
	return o.Run(ctx, command.Cmd{
		Args: []string{"go", "build", "-race", "runtime/cgo"}, Dir: o.Dir, Stderr: io.Discard, // the error tells it
	})
}
