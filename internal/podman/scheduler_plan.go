package podman

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Plan says what is to be done about a container for one platform, and why.
type Plan struct {
	Container Container
	Record    image.Record // as it would be, without digest
	UpToDate  bool
	Where     string             // what it was compared with: out, registry, or empty where there is nothing
	Changes   []container.Change // since then
}

// Plan concretizes what has no lockfile yet and says what is up to date. Registries are asked in
// parallel.
func (s *Scheduler) Plan(ctx context.Context, containers []Container) ([]Plan, []error) {
	plans, errs := make([]Plan, len(containers)), make([]error, len(containers))
	var group errgroup.Group
	for i, c := range containers {
		group.Go(func() error {
			if plans[i], errs[i] = s.plan(ctx, c); errs[i] != nil {
				errs[i] = fmt.Errorf("%s for %s: %w", c.Name, c.Platform, errs[i])
			}
			plans[i].Container.Name, plans[i].Container.Platform = c.Name, c.Platform
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return plans, errs
}

func (s *Scheduler) plan(ctx context.Context, c Container) (Plan, error) {
	var runtime pinnedBase
	var group errgroup.Group // without a context of its own: others wait for the same base images
	group.Go(func() error { return s.lock(ctx, &c) })
	group.Go(func() (err error) {
		runtime, err = s.pin(ctx, Runtime, c.Platform)
		return err
	})
	if err := group.Wait(); err != nil {
		return Plan{}, err
	}
	record := c.Describe(container.Base{Name: Runtime, Key: runtime.Key})
	plan := Plan{Container: c, Record: record}
	old, err := s.Tree.Read(c.Name, c.Platform)
	if err == nil && old.BuildKey == record.BuildKey {
		plan.Where, plan.UpToDate, plan.Record = "out", true, old
		return plan, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Plan{}, err
	}
	there, askErr := s.ask(ctx, record)
	switch {
	case askErr != nil:
		return Plan{}, askErr
	case there != nil:
		plan.Where, plan.UpToDate, plan.Changes = "registry", there.BuildKey == record.BuildKey, container.Compare(there.Inputs, record.Inputs)
		plan.Record.Digest = there.Digest
	case err == nil:
		plan.Where, plan.Changes = "out", container.Compare(old.Inputs, record.Inputs)
	}
	return plan, nil
}

func (s *Scheduler) ask(ctx context.Context, record image.Record) (*image.Record, error) {
	if s.Published == nil {
		return nil, nil
	}
	return s.Published(ctx, record)
}
