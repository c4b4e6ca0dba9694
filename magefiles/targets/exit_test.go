package targets

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

func TestATargetEndsInPlainLinesAndAStatus(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	failed := errors.New("push x: \x1b[2Jdenied\n::error::owned")
	for name, c := range map[string]struct {
		ctx    context.Context
		err    error
		text   string
		status int
	}{
		"a failure":                    {t.Context(), failed, `push x: \x1b[2Jdenied` + "\n" + `\::error::owned`, 1},
		"a wrong call":                 {t.Context(), wrongCall("unknown flag %q", "--x"), `unknown flag "--x"`, 2},
		"a wrong call, wrapped":        {t.Context(), fmt.Errorf("show: %w", wrongCall("no such name")), "show: no such name", 2},
		"an interruption":              {stopped, fmt.Errorf("list: %w", context.Canceled), interruption, 130},
		"a failure beside it":          {stopped, failed, interruption + ` (meanwhile: push x: \x1b[2Jdenied)`, 130},
		"a time-out of something else": {t.Context(), context.DeadlineExceeded, "context deadline exceeded", 1},
	} {
		err := c.err
		finish(c.ctx, &err)
		var coded interface{ ExitStatus() int }
		if !errors.As(err, &coded) || coded.ExitStatus() != c.status || err.Error() != c.text || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q and %v, want %q and %d", name, err, coded, c.text, c.status)
		}
	}
	var none error
	if finish(stopped, &none); none != nil {
		t.Errorf("success became %v", none)
	}
}

// Mage prints a target's error as it is.
func TestEveryTargetEndsByFinish(t *testing.T) {
	files, _ := source.ReadDir(".")
	targets := 0
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, _ := source.ReadFile(file.Name())
		for _, fn := range functions(t, file.Name(), text) {
			if !isTarget(fn) {
				continue
			}
			targets++
			first, ok := fn.Body.List[0].(*ast.DeferStmt)
			if !ok || first.Call.Fun.(*ast.Ident).Name != "finish" {
				t.Errorf("%s: %s does not begin with: defer finish(ctx, &err)", file.Name(), targetName(fn))
			}
		}
	}
	if targets < 30 {
		t.Errorf("found %d targets", targets)
	}
}
