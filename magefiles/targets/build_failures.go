package targets

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// buildErrors returns what failed. Where for several containers only sources could not be fetched that is
// one error: each names another package, and all have one cause.
func buildErrors(results []podman.Result) error {
	var failed []error
	unfetched := &unfetchedError{}
	for _, r := range results {
		if r.Err == nil {
			continue
		}
		err := fmt.Errorf("%s for %s: %w", r.Name, r.Platform, r.Err)
		var failure *podman.Failure
		if errors.As(r.Err, &failure) {
			if refusals, ok := failure.Unfetched(); ok {
				unfetched.add(r, failure, refusals)
				unfetched.errs = append(unfetched.errs, err)
				continue
			}
		}
		failed = append(failed, err)
	}
	if len(unfetched.errs) > 1 {
		return errors.Join(append(failed, unfetched)...)
	}
	return errors.Join(append(failed, unfetched.errs...)...)
}

// An unfetchedError is that sources of several containers' packages could not be fetched.
type unfetchedError struct {
	errs                         []error
	containers, packages, places []string
	whys                         []string
	log                          string // of the first
}

func (e *unfetchedError) add(r podman.Result, f *podman.Failure, refusals []podman.Refusal) {
	e.containers = append(e.containers, r.Name+" for "+r.Platform)
	for _, p := range f.Packages {
		e.packages = addOnce(e.packages, p.Name)
	}
	for _, refusal := range refusals {
		e.places, e.whys = addOnce(e.places, refusal.Place), addOnce(e.whys, refusal.Why)
	}
	if e.log == "" {
		e.log = f.Log
	}
}

func addOnce(list []string, item string) []string {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

func (e *unfetchedError) Unwrap() []error { return e.errs }

func (e *unfetchedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: sources cannot be fetched: of %s", ui.Some(e.containers), ui.Some(e.packages))
	if len(e.places) > 0 {
		fmt.Fprintf(&b, ", from %s\n\t%s", ui.Some(e.places), strings.Join(e.whys[:min(len(e.whys), 3)], "\n\t"))
	}
	fmt.Fprintf(&b, "\nall of the first: %s", e.log)
	return b.String()
}
