package suite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

func TestFuzzTestsAreFound(t *testing.T) {
	body := &fstest.MapFile{Data: []byte("package x\n\nfunc FuzzOne(f *testing.F) {}\nfunc FuzzTwo(f *testing.F) {}\nfunc TestFuzzy(t *testing.T) {}\n")}
	found, err := fuzzTests(fstest.MapFS{"a/b/x_test.go": body, "a/x.go": body, "testdata/x_test.go": body, "out/x_test.go": body, ".git/x_test.go": body})
	if err != nil {
		t.Fatal(err)
	}
	if want := []fuzzTest{{"./a/b", "FuzzOne"}, {"./a/b", "FuzzTwo"}}; !slices.Equal(found, want) {
		t.Errorf("got %v, want %v", found, want)
	}
}

func TestFuzzingIsForCIAndItsFindingsAreFailures(t *testing.T) {
	ran := 0
	o := Options{Dir: "../..", Run: func(_ context.Context, c command.Cmd) error {
		ran++
		if !slices.Contains(c.Args, "-fuzz=^FuzzParseLockfile$") {
			return nil
		}
		if !slices.Contains(c.Args, "-fuzztime=1m0s") {
			t.Errorf("ran %q", c.Args)
		}
		return errors.New("found one")
	}}
	if remark, err := fuzz(t.Context(), o); err != nil || ran > 0 || !strings.HasPrefix(remark, "skipped: ") {
		t.Errorf("without %s: ran %d, %q, %v", RequireVariable, ran, remark, err)
	}
	o.RequireTools = true
	if _, err := fuzz(t.Context(), o); err == nil || !strings.Contains(err.Error(), "buildcache FuzzParseLockfile: found one") {
		t.Errorf("got %v", err)
	}
	if ran < 5 {
		t.Errorf("ran %d fuzz tests", ran)
	}
}
