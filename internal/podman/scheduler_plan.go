package podman

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
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

// Plan concretizes what has no lockfile yet and says what is up to date. Registries are asked in parallel.
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
	if err := s.lock(ctx, &c); err != nil {
		return Plan{}, err
	}
	_, runtimeKey, err := s.pin(ctx, Runtime, c.Platform)
	if err != nil {
		return Plan{}, err
	}
	record := c.Describe(container.Base{Name: Runtime, Key: runtimeKey})
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

// lock takes the lockfile that an earlier concretization of the same environment by the same builder left, or
// concretizes. A container that brings its own keeps it.
func (s *Scheduler) lock(ctx context.Context, c *Container) error {
	if c.Lock != nil {
		return nil
	}
	_, builderKey, err := s.pin(ctx, Builder, c.Platform)
	if err != nil {
		return err
	}
	key := hexSum(append([]byte(builderKey+"\n"), c.Spack...))
	path := filepath.Join(s.Work, "locks", c.Name, filepath.FromSlash(c.Platform), key+".lock")
	text, err := os.ReadFile(path)
	if err == nil {
		return c.SetLock(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err = s.withHost(ctx, *c, func(e Engine) error {
		text, err = e.Lock(ctx, *c)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(path, text, 0o644); err != nil {
		return err
	}
	return c.SetLock(text)
}

// Lock returns the lockfile of a container: what an earlier concretization left, or a new one.
func (s *Scheduler) Lock(ctx context.Context, c Container) ([]byte, error) {
	err := s.lock(ctx, &c)
	return c.LockText, err
}
