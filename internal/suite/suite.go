// Package suite runs everything that this repository holds against itself: format, vet,
// staticcheck, known vulnerabilities, fuzzing and the tests, in three sizes. It needs no root and
// no network, and says aloud what it left out.
package suite

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// RequireVariable is the environment variable that sets Options.RequireTools, and that tests read
// as well.
const RequireVariable = "SPACKTAINERS_REQUIRE_TOOLS"

// SizeVariable is the environment variable that tells tests the size of the run.
const SizeVariable = "SPACKTAINERS_TEST_SIZE"

// A Size is how much is tried. A larger one holds all that a smaller one does.
type Size int

// The sizes. Two cores take under 5 minutes for Quick, with nothing compiled before, some 35 for
// All, and hours for Long.
const (
	Quick Size = iota // format, and the tests that need minutes and no program but Go's
	All               // real servers and podman, the race detector, all of vet, staticcheck, known vulnerabilities, short fuzzing
	Long              // the torture in full, and fuzzing for ten minutes each
)

func (s Size) String() string { return []string{"quick", "all", "long"}[s] }

// Options say what is tested, and how strictly.
type Options struct {
	Size            Size
	Dir             string // the module's root; empty: here
	Run             command.Runner
	Out             io.Writer // gets the report, and nothing after its closing line
	RequireTools    bool      // a program that is missing is a failure, not a reason to skip
	Vulnerabilities string    // the database; empty: https://vuln.go.dev
}

// A step returns a remark for its line of the report, such as why it was skipped.
type step struct {
	name string
	size Size // the smallest that it is part of
	do   func(context.Context, Options) (remark string, err error)
}

var steps = []step{
	{"gofmt", Quick, format},
	{"go vet", All, analyse("go", "vet")},
	{"staticcheck", All, analyse("go", "tool", "staticcheck")},
	{"govulncheck", All, vulnerabilities},
	{"fuzz", All, fuzz},
	{"torture", All, torture},
}

// Run does all steps, also after one has failed, and closes its report with the line
// "N passed, N failed, N skipped", which counts tests.
func Run(ctx context.Context, o Options) error {
	var failed []string
	for _, s := range steps {
		if o.Size < s.size {
			fmt.Fprintf(o.Out, "left out  %s: it is part of test --%v\n", s.name, s.size)
			continue
		}
		start := time.Now()
		remark, err := s.do(ctx, o)
		if err != nil {
			failed = append(failed, s.name)
		}
		fmt.Fprintln(o.Out, strings.TrimSpace(line(err == nil, time.Since(start), s.name)+"  "+remark))
		if err != nil {
			fmt.Fprint(o.Out, indent(err.Error()))
		}
	}
	r := newReport(o.Out)
	start := time.Now()
	if err := test(ctx, o, r); err != nil {
		failed = append(failed, "go test")
		fmt.Fprintf(o.Out, "go test: %v\n", err)
	}
	fmt.Fprintln(o.Out, line(!slices.Contains(failed, "go test"), time.Since(start), "go test"))
	r.close()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("test: %w", context.Cause(ctx))
	case len(failed) > 0:
		return fmt.Errorf("test: not in order: %s", strings.Join(failed, ", "))
	}
	return nil
}

func line(ok bool, took time.Duration, name string) string {
	word := "ok  "
	if !ok {
		word = "FAIL"
	}
	return fmt.Sprintf("%s %7.2fs  %s", word, took.Seconds(), name)
}
