package podman

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Present is the outcome of a package that a build cache had already, and ToBuild that of one which
// a dry run would build.
const (
	Present Outcome = "in the build cache"
	ToBuild Outcome = "to build"
)

// A PackageResult is what became of a package.
type PackageResult struct {
	Package   string          `json:"package"` // name@version
	Hash      buildcache.Hash `json:"hash"`
	Platform  string          `json:"platform"`
	Container string          `json:"container"` // of whose lockfile it is
	Host      string          `json:"host,omitempty"`
	Outcome   Outcome         `json:"result"`
	Seconds   float64         `json:"seconds,omitempty"` // of the build that it was part of
	Message   string          `json:"error,omitempty"`
}

// BuildPackages builds what no build cache has of some packages, or with dry says what it would
// build. The results are in the order of the packages. What is in no build cache afterwards, though
// nothing failed, is a failure: it was refused, or no build cache takes it.
func (s *Scheduler) BuildPackages(ctx context.Context, packages []Packages, dry bool) ([]PackageResult, error) {
	results, errs := make([][]PackageResult, len(packages)), make([]error, len(packages))
	var group errgroup.Group
	for i, p := range packages {
		group.Go(func() error {
			results[i], errs[i] = s.buildPackages(ctx, p, dry)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return slices.Concat(results...), errors.Join(errs...)
}

func (s *Scheduler) buildPackages(ctx context.Context, p Packages, dry bool) ([]PackageResult, error) {
	c := p.Container
	offer := c.Offer
	offer.Lock = c.LockText
	missing, err := offer.Missing(ctx, p.Hashes)
	if err != nil {
		return nil, err
	}
	var results []PackageResult
	for _, hash := range p.Hashes {
		spec := c.Lock.Specs[hash]
		r := PackageResult{Package: spec.Name + "@" + spec.Version, Hash: hash, Platform: c.Platform, Container: c.Name, Outcome: Present}
		if slices.Contains(missing, hash) {
			r.Outcome = ToBuild
		}
		results = append(results, r)
	}
	if dry || len(missing) == 0 {
		return results, nil
	}
	if s.Announce != nil {
		s.Announce(ctx, c)
	}
	var host string
	var took time.Duration
	passed, failed := s.withHost(ctx, c, building, func(e Engine) error {
		began := time.Now()
		defer func() { took, host = time.Since(began), e.Host }()
		return e.Packages(ctx, Packages{c, missing})
	})
	s.tell(Event{Container: c.Name, Platform: c.Platform, Done: true})
	for _, why := range passed {
		s.tell(Event{Container: c.Name, Platform: c.Platform, Note: "could not build there: " + why})
	}
	if ctx.Err() != nil {
		return results, context.Cause(ctx)
	}
	left, err := offer.Missing(ctx, missing)
	if failed == nil && len(left) > 0 {
		failed = fmt.Errorf("built, and not in the build cache: why is in %s", logBeside(Engine{Work: s.work()}.packagesContext(Packages{c, missing})))
	}
	for i := range results {
		switch r := &results[i]; {
		case r.Outcome != ToBuild:
		case failed != nil && slices.Contains(left, r.Hash):
			r.Outcome, r.Host, r.Seconds, r.Message = Failed, host, took.Seconds(), failed.Error()
		default:
			r.Outcome, r.Host, r.Seconds = Built, host, took.Seconds()
		}
	}
	if failed != nil {
		failed = fmt.Errorf("packages of %s for %s: %w", c.Name, c.Platform, failed)
	}
	return results, errors.Join(failed, err)
}
