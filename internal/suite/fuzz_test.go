package suite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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

func TestWhatFuzzingFindsIsAFailure(t *testing.T) {
	ran := 0
	o := Options{Dir: "../..", Size: All, Run: func(_ context.Context, c command.Cmd) error {
		ran++
		if !slices.Contains(c.Args, "-fuzz=^FuzzParseLockfile$") {
			return nil
		}
		return errors.New("found one")
	}}
	if _, err := fuzz(t.Context(), o); err == nil || !strings.Contains(err.Error(), "buildcache FuzzParseLockfile: found one") {
		t.Errorf("got %v", err)
	}
	if ran < 5 {
		t.Errorf("ran %d fuzz tests", ran)
	}
}

// Go before 1.27 now and then says so when the time is up.
func TestTheEndOfTheTimeIsNoFinding(t *testing.T) {
	const head = "fuzz: elapsed: 16s, execs: 161054 (0/sec), new interesting: 3 (total: 300)\n--- FAIL: FuzzX (16.03s)\n"
	const tail = "FAIL\nexit status 1\nFAIL\texample.org/x\t16.041s\n"
	for out, want := range map[string]bool{
		head + "    context deadline exceeded\n" + tail: true,
		head + "    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: context deadline exceeded\n\n    Failing input written to testdata/fuzz/FuzzX/1\n" + tail: false,
		head + "    fuzzing process hung or terminated unexpectedly: exit status 2\n    context deadline exceeded\n" + tail:                                 false,
		"--- FAIL: FuzzX (0.01s)\n    --- FAIL: FuzzX/seed#0 (0.00s)\n        x_test.go:9: no\n" + tail:                                                     false,
		head + "    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzX/1\n" + tail:                                                 false,
		"x_test.go:9: undefined: y\nFAIL\texample.org/x [build failed]\n":                                                                                   false,
	} {
		o := Options{Dir: "../..", Size: All, Run: func(_ context.Context, c command.Cmd) error {
			_, _ = c.Stdout.Write([]byte(out))
			return errors.New("exit status 1")
		}}
		if _, err := fuzz(t.Context(), o); (err == nil) != want {
			t.Errorf("%q: got %v", out, err)
		}
	}
}

func TestFuzzingTogetherStaysInItsBudget(t *testing.T) {
	cache, other := fuzzTest{pkg: "./buildcache/index"}, fuzzTest{pkg: "./internal/sif"}
	for _, n := range []int{1, 10, 40} {
		if got := other.time(All, n) * time.Duration(n); got > fuzzBudget {
			t.Errorf("%d fuzz tests take %v, want at most %v", n, got, fuzzBudget)
		}
		if got := cache.time(All, n) * time.Duration(n); got > fuzzBudget+time.Minute {
			t.Errorf("%d fuzz tests of the build cache take %v, want about %v", n, got, fuzzBudget)
		}
	}
	if got := other.time(Long, 40); got != 10*time.Minute {
		t.Errorf("--long: got %v", got)
	}
}
