package podman

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

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

// Taken says that the version which it would have is published from another build, which a release
// does not replace by itself; empty where that is not so.
func (p Plan) Taken() string {
	if p.UpToDate || p.Where != "registry" {
		return ""
	}
	return "a release needs another version than " + p.Record.Version + ", which is published, or publish --force"
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
		return s.local(c), err
	}
	record := c.Describe(container.Base{Name: Runtime, Key: runtime.Key})
	plan := Plan{Container: c, Record: record}
	old, err := s.built(c)
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
		if err == nil {
			plan.Where, plan.Changes = "out", container.Compare(old.Inputs, record.Inputs)
		}
		return plan, askErr
	case there != nil:
		plan.Where, plan.UpToDate, plan.Changes = "registry", there.BuildKey == record.BuildKey, container.Compare(there.Inputs, record.Inputs)
		plan.Record.Digest, plan.Record.Bytes = there.Digest, there.Bytes
	case err == nil:
		plan.Where, plan.Changes = "out", container.Compare(old.Inputs, record.Inputs)
	}
	return plan, nil
}

// built is what the tree has of a container. The error wraps fs.ErrNotExist where that is nothing, or
// does not count.
func (s *Scheduler) built(c Container) (image.Record, error) {
	if s.PublishedOnly && s.Published != nil {
		return image.Record{}, fs.ErrNotExist
	}
	return s.Tree.Read(c.Name, c.Platform)
}

// local is what is known of a container whose inputs are not: its image that is here.
func (s *Scheduler) local(c Container) Plan {
	if old, err := s.built(c); err == nil {
		return Plan{Container: c, Record: old, Where: "out"}
	}
	return Plan{Container: c}
}

// Missing returns an error for each thing that containers are made of and that does not answer: the
// registries of base images, Spack and its package repositories. Each is told once, however many
// containers want it; what only a build would ask for is asked for where something else is missing.
func (s *Scheduler) Missing(ctx context.Context, containers []Container) (missing []error) {
	want, more := map[[2]string]bool{}, map[[2]string]bool{} // base and platform
	for _, c := range containers {
		want[[2]string{Runtime, c.Platform}] = true
		more[[2]string{Builder, c.Platform}] = true
		if c.Lock == nil {
			want[[2]string{Builder, c.Platform}] = true
		}
	}
	if missing = s.missing(ctx, want); len(missing) > 0 {
		maps.Copy(want, more)
		missing = s.missing(ctx, want)
	}
	return missing
}

func (s *Scheduler) missing(ctx context.Context, bases map[[2]string]bool) (missing []error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	told := map[string]bool{}
	for b := range bases {
		group.Go(func() {
			_, err := s.pin(ctx, b[0], b[1])
			mu.Lock()
			defer mu.Unlock()
			for _, cause := range causes(err) {
				if !told[cause.Error()] {
					told[cause.Error()] = true
					missing = append(missing, cause)
				}
			}
		})
	}
	group.Wait()
	slices.SortFunc(missing, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return missing
}

// causes are the errors that one has joined, without what was being done.
func causes(err error) []error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if joined, ok := inner.(interface{ Unwrap() []error }); ok {
			return joined.Unwrap()
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func (s *Scheduler) ask(ctx context.Context, record image.Record) (*image.Record, error) {
	if s.Published == nil {
		return nil, nil
	}
	return s.Published(ctx, record)
}
