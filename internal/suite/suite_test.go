package suite

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

var closing = regexp.MustCompile(`(^|\n)(\d+ passed, \d+ failed, \d+ skipped)\n$`)

func TestTheVariablesAreThoseThatTestsRead(t *testing.T) {
	if RequireVariable != tooltest.Require {
		t.Errorf("%s is not %s", RequireVariable, tooltest.Require)
	}
	if SizeVariable != size.Variable {
		t.Errorf("%s is not %s", SizeVariable, size.Variable)
	}
	for _, s := range []Size{Quick, All, Long} {
		t.Setenv(size.Variable, s.String())
		if got := size.Of(); int(got) != int(s) {
			t.Errorf("%v: tests read %v", s, got)
		}
	}
}

// module writes a small module, which has no dependencies and so needs no network.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.org/small\n\ngo 1.26\n"
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// only runs what keep says; anything else is noted and succeeds, but for building the race
// detector, which would be slow.
func only(keep func(command.Cmd) bool, noted *[]string) command.Runner {
	return func(ctx context.Context, c command.Cmd) error {
		if keep(c) {
			return command.Exec(nil)(ctx, c)
		}
		*noted = append(*noted, strings.Join(c.Args, " "))
		if strings.Contains(strings.Join(c.Args, " "), "build -race") {
			return errors.New("no C compiler")
		}
		return nil
	}
}

func isTest(c command.Cmd) bool { return c.Args[1] == "test" && slices.Contains(c.Args, "-json") }

var mixed = map[string]string{
	"good/good_test.go": `package good

import "testing"

func TestOne(t *testing.T) {}

func TestMany(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Run("b", func(t *testing.T) { t.Skip("needs podman") })
}
`,
	"bad/bad_test.go": `package bad

import "testing"

func TestParent(t *testing.T) {
	t.Run("fine", func(t *testing.T) {})
	t.Run("wrong", func(t *testing.T) { t.Errorf("got 1, want 2") })
}

func TestItself(t *testing.T) {
	t.Run("fine", func(t *testing.T) {})
	t.Error("the parent alone")
}
`,
	"panics/panics_test.go": `package panics

import "testing"

func TestPanics(t *testing.T) { panic("oh no") }
`,
	"broken/broken_test.go": `package broken

import "testing"

func TestNever(t *testing.T) { undefinedName() }
`,
	"empty/empty.go": "// Package empty has no tests.\npackage empty\n",
}

func TestReportOfRealTests(t *testing.T) {
	dir := module(t, mixed)
	var out bytes.Buffer
	var noted []string
	err := Run(t.Context(), Options{Dir: dir, Size: All, Run: only(isTest, &noted), Out: &out, Vulnerabilities: "http://127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "go test") {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		"ok  ", "example.org/small/good", // perhaps from the cache of test results
		"FAIL", "example.org/small/bad\n",
		"bad_test.go:7: got 1, want 2\n", "the parent alone\n",
		"panic: oh no",
		"undefined: undefinedName",
		"example.org/small/empty  (no tests)\n",
		"skipped: needs podman (1)\n\texample.org/small/good.TestMany/b\n",
		"skipped: database not reachable\n",
		"without the race detector, which needs cgo and a C compiler: no C compiler\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	got := closing.FindStringSubmatch(out.String())
	// good: TestOne and a; bad: fine twice. Failed: wrong, TestItself, TestPanics and the package
	// broken.
	if want := "4 passed, 4 failed, 1 skipped"; got == nil || got[2] != want {
		t.Errorf("closing line %q, want %q", got, want)
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestRequiredToolsReachTheTests(t *testing.T) {
	t.Setenv(RequireVariable, "")
	dir := module(t, map[string]string{"a_test.go": `package a

import (
	"os"
	"testing"
)

func TestA(t *testing.T) {
	if os.Getenv("SPACKTAINERS_REQUIRE_TOOLS") != "1" {
		t.Skip("not required")
	}
}
`})
	for required, want := range map[bool]string{false: "0 passed, 0 failed, 1 skipped", true: "1 passed, 0 failed, 0 skipped"} {
		var out bytes.Buffer
		var noted []string
		err := Run(t.Context(), Options{Dir: dir, Size: All, Run: only(isTest, &noted), Out: &out, RequireTools: required, Vulnerabilities: "http://127.0.0.1:1"})
		if got := closing.FindStringSubmatch(out.String()); got == nil || got[2] != want {
			t.Errorf("required %v: got %q, want %q", required, got, want)
		}
		if (err != nil) != required { // the missing race detector is a failure then
			t.Errorf("required %v: %v", required, err)
		}
	}
}

func TestEveryStepRunsAndOneFailureIsEnough(t *testing.T) {
	db := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer db.Close()
	dir := module(t, map[string]string{"magefiles/magefile.go": "package main\n", "magefile.go": "package main\n"})
	for _, wrong := range []string{"go vet", "staticcheck", "govulncheck", "go test -json"} {
		var out bytes.Buffer
		var ran []string
		run := func(_ context.Context, c command.Cmd) error {
			line := strings.Join(c.Args, " ")
			ran = append(ran, line)
			if strings.Contains(line, wrong) {
				return errors.New("exit status 1")
			}
			return nil
		}
		err := Run(t.Context(), Options{Size: All, Dir: dir, Run: run, Out: &out, Vulnerabilities: db.URL})
		if want := "test: not in order: " + strings.TrimSuffix(wrong, " -json"); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		for _, want := range []string{
			"go vet ./...", "go vet -tags=mage ./magefiles", "go vet magefile.go",
			"go tool staticcheck ./...", "go tool staticcheck -tags=mage ./magefiles",
			"go tool govulncheck -db=" + db.URL + " ./...",
			"go test -json -timeout=40m -race ./...",
		} {
			if !strings.Contains(strings.Join(ran, "\n")+"\n", want+"\n") {
				t.Errorf("with a wrong %s it does not run %q:\n%s", wrong, want, strings.Join(ran, "\n"))
			}
		}
		if !closing.MatchString(out.String()) {
			t.Errorf("with a wrong %s the report ends in %q", wrong, &out)
		}
	}
}

func TestAQuickRunSaysWhatItLeavesOut(t *testing.T) {
	var out bytes.Buffer
	var ran []string
	run := func(_ context.Context, c command.Cmd) error {
		ran = append(ran, strings.Join(append(c.Args, c.Env...), " "))
		return nil
	}
	if err := Run(t.Context(), Options{Dir: module(t, map[string]string{}), Run: run, Out: &out}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"go vet", "staticcheck", "govulncheck", "fuzz", "torture", "the race detector"} {
		if !strings.Contains(out.String(), "left out  "+want+": it is part of test --all\n") {
			t.Errorf("does not say that it leaves out %s:\n%s", want, &out)
		}
		if strings.Contains(strings.Join(ran, "\n"), want) {
			t.Errorf("runs %s", want)
		}
	}
	if last := ran[len(ran)-1]; last != "go test -json -timeout=10m -short -vet=off ./... "+SizeVariable+"=quick" {
		t.Errorf("ran %q", last)
	}
}

func TestFormatFindsWhatGofmtWould(t *testing.T) {
	files := map[string]string{
		"good.go":          "package a\n",
		"bad/bad.go":       "package  a\n",
		"broken.go":        "package\n",
		"testdata/skip.go": "package  a\n",
		".hidden/skip.go":  "package  a\n",
		"out/skip.go":      "package  a\n",
	}
	dir := module(t, files)
	walking := func(context.Context, command.Cmd) error { return errors.New("not a repository") }
	tracking := func(_ context.Context, c command.Cmd) error {
		_, err := c.Stdout.Write([]byte("good.go\x00bad/bad.go\x00broken.go\x00removed.go\x00testdata/skip.go\x00"))
		return err
	}
	for name, run := range map[string]command.Runner{"without git": walking, "with git": tracking} {
		_, err := format(t.Context(), Options{Dir: dir, Run: run})
		if err == nil || !strings.Contains(err.Error(), "bad/bad.go: gofmt would change it") || !strings.Contains(err.Error(), "broken.go: ") {
			t.Errorf("%s: %v", name, err)
		} else if n := strings.Count(err.Error(), "\n") + 1; n != 2 {
			t.Errorf("%s: %d files, want 2: %v", name, n, err)
		}
	}
}

func TestGitListsTheFiles(t *testing.T) {
	git := tooltest.Need(t, "git")
	dir := module(t, map[string]string{"sub/a.go": "package a\n", "untracked.go": "package a\n"})
	run := command.Exec(nil)
	for _, args := range [][]string{{git, "init", "-q"}, {git, "add", "sub"}} {
		if err := run(t.Context(), command.Cmd{Args: args, Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := goFiles(t.Context(), Options{Dir: dir, Run: run})
	if err != nil || len(files) != 1 || files[0] != "sub/a.go" {
		t.Errorf("got %q, %v", files, err)
	}
}

func TestAnInterruptedRunStillCounts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	run := func(ctx context.Context, c command.Cmd) error {
		if !isTest(c) {
			return nil
		}
		cancel()
		_, _ = c.Stdout.Write([]byte(`{"Action":"run","Package":"p","Test":"TestSlow"}` + "\n" + `{"Action":"output","Pack`))
		return ctx.Err()
	}
	var out bytes.Buffer
	err := Run(ctx, Options{Dir: module(t, map[string]string{}), Run: run, Out: &out, Vulnerabilities: "http://127.0.0.1:1"})
	if !errors.Is(err, context.Canceled) || !strings.HasSuffix(out.String(), "\n0 passed, 1 failed, 0 skipped\n") {
		t.Errorf("got %v and %q", err, &out)
	}
	if !strings.Contains(out.String(), "--- TestSlow did not finish\n") {
		t.Errorf("does not name the test that was interrupted: %q", &out)
	}
}
