package ui_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/ui"
)

func TestOneCauseIsToldOnce(t *testing.T) {
	down := errors.New("docker.io cannot be reached: no such host: configure a mirror")
	many := func(names ...string) (errs []error) {
		for _, name := range names {
			errs = append(errs, fmt.Errorf("%s for linux/amd64: %w", name, down))
		}
		return errs
	}
	other := errors.New("d for linux/amd64: no lockfile")
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"one", "a for linux/amd64: " + down.Error(), many("a")[0]},
		{"plain", "no space left", errors.New("no space left")},
		{"two", "a for linux/amd64, b for linux/amd64: " + down.Error(), errors.Join(many("a", "b")...)},
		{"many", "a for linux/amd64, b for linux/amd64, c for linux/amd64 and 2 more: " + down.Error() + "\n" + other.Error(),
			errors.Join(append(many("a", "b", "c"), append([]error{other}, many("e", "f")...)...)...)},
		{"joined twice", "a for linux/amd64, b for linux/amd64: " + down.Error(), errors.Join(errors.Join(many("a")...), errors.Join(many("b")...))},
		{"the same twice", "no space left", errors.Join(errors.New("no space left"), errors.New("no space left"))},
		{"the same of one", "a for linux/amd64: " + down.Error(), errors.Join(many("a", "a")...)},
		{"two of a kind in a sentence", "refused: x: y (z)", fmt.Errorf("%w: x: %w", errors.New("refused"), errors.New("y (z)"))},
		{"causes of several lines", "a, b: it failed\n  its log", errors.Join(errors.New("a: it failed\n  its log"), errors.New("b: it failed\n  its log"))},
		{"different causes", "a: x\nb: y", errors.Join(errors.New("a: x"), errors.New("b: y"))},
	} {
		if got := ui.Failures(tt.err); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}
