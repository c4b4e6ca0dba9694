package podman

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

// base returns a base image on a host, which is built there where it is missing or not up to date.
func (s *Scheduler) base(ctx context.Context, p Podman, host, platform, name string) (BuiltBase, error) {
	return s.bases.do(host+" "+platform+" "+name, func() (BuiltBase, error) {
		b, err := s.pin(ctx, name, platform)
		if err != nil {
			return BuiltBase{}, err
		}
		b.Watch = s.Watch
		b.tell(Event{Step: stepBase})
		defer b.tell(Event{Done: true})
		plan, err := b.Plan(ctx, p, false)
		if err != nil {
			return BuiltBase{}, err
		}
		return plan.Apply(ctx, p, filepath.Join(s.Work, "base"), p.URL == "" && platform == s.Native)
	})
}

func (s *Scheduler) describeBase(name, platform string) (Base, error) {
	for _, b := range s.Bases[platform] {
		if b.Name == name {
			return b, nil
		}
	}
	return Base{}, fmt.Errorf("platform %s is not configured", platform)
}

// A pinnedBase is a base image that is the same for all containers of a run, on every host.
type pinnedBase struct {
	Base
	Key string // its build key, whether or not it is there
}

// pin returns a base image as it is to be. It is asked for once: many containers want the same.
func (s *Scheduler) pin(ctx context.Context, name, platform string) (pinnedBase, error) {
	return s.pinned.do(platform+" "+name, func() (pinnedBase, error) {
		b, err := s.describeBase(name, platform)
		if err != nil {
			return pinnedBase{}, err
		}
		b, key, err := b.Pin(ctx, s.Podman)
		return pinnedBase{b, key}, err
	})
}

// concretizer is what makes lockfiles in a builder.
func (b pinnedBase) concretizer() container.Concretizer {
	by := container.Concretizer{Builder: b.Key}
	if b.Spack != nil {
		by.Spack = b.Spack.Commit
	}
	for _, r := range b.Repos {
		by.Repos = append(by.Repos, r.commitAndPaths())
	}
	return by
}
