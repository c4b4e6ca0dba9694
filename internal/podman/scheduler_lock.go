package podman

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
)

// ErrNoLock is what a container fails with that has no lockfile, where LockedOnly forbids to make one.
var ErrNoLock = errors.New("there is no lockfile")

// Lock returns the lockfiles of containers as a build would take them, concretizing several at a
// time.
func (s *Scheduler) Lock(ctx context.Context, containers []Container) ([]Container, []error) {
	locked, errs := make([]Container, len(containers)), make([]error, len(containers))
	var group errgroup.Group
	for i, c := range containers {
		group.Go(func() error {
			locked[i] = c
			if errs[i] = s.lock(ctx, &locked[i]); errs[i] != nil {
				errs[i] = fmt.Errorf("%s for %s: %w", c.Name, c.Platform, errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return locked, errs
}

// lock gives a container its lockfile: the one that it brings, or else what has been concretized
// for the same key, by others who have published it or by us, or else a new one. What others have
// comes first, so that all build the same.
func (s *Scheduler) lock(ctx context.Context, c *Container) error {
	if c.Lock != nil {
		return nil
	}
	builder, err := s.pin(ctx, Builder, c.Platform)
	if err != nil {
		return err
	}
	key, err := c.ConcretizationKey(builder.concretizer())
	if err != nil {
		return err
	}
	c.Concretization = key
	path := filepath.Join(s.Work, "locks", c.Name, filepath.FromSlash(c.Platform), key+".lock")
	if !s.Anew {
		if found, err := s.published(ctx, c, key); found || err != nil {
			return err
		}
		if text, err := os.ReadFile(path); err == nil && c.SetLock(text) == nil {
			return nil
		}
	}
	if s.LockedOnly {
		return ErrNoLock
	}
	if err := s.concretize(ctx, c); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, c.LockText, 0o644)
}

// published takes the lockfile that is published under a key. One that cannot be read here is
// passed: it saves work, and no more.
func (s *Scheduler) published(ctx context.Context, c *Container, key string) (found bool, err error) {
	if s.Locked == nil {
		return false, nil
	}
	text, err := s.Locked(ctx, *c, key)
	if text == nil || err != nil {
		return false, err
	}
	if err := c.SetLock(text); err != nil {
		s.tell(Event{Container: c.Name, Platform: c.Platform, Note: fmt.Sprintf("the published lockfile is passed: %v", err)})
		return false, nil
	}
	return true, nil
}

func (s *Scheduler) concretize(ctx context.Context, c *Container) error {
	var text []byte
	_, err := s.withHost(ctx, *c, concretizing, func(e Engine) (err error) {
		text, err = e.Lock(ctx, *c)
		return err
	})
	if err != nil {
		return err
	}
	return c.SetLock(text)
}
