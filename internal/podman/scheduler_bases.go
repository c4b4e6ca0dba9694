package podman

import (
	"context"
	"fmt"
	"path/filepath"
)

// base returns a base image on a host, which is built there where it is missing or not up to date.
func (s *Scheduler) base(ctx context.Context, p Podman, host, platform, name string) (BuiltBase, error) {
	key := host + " " + platform + " " + name
	s.mu.Lock()
	built, ok := s.bases[key]
	s.mu.Unlock()
	if ok {
		return built, nil
	}
	b, _, err := s.pin(ctx, name, platform)
	if err != nil {
		return BuiltBase{}, err
	}
	s.tell(Event{Container: "base image " + name, Platform: platform, Step: "look, and build if it is not up to date"})
	defer s.tell(Event{Container: "base image " + name, Platform: platform, Done: true})
	if built, err = b.Ensure(ctx, p, filepath.Join(s.Work, "base"), p.URL == "" && platform == s.Native, false); err != nil {
		return built, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bases == nil {
		s.bases = map[string]BuiltBase{}
	}
	s.bases[key] = built
	return built, nil
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
	base Base
	key  string
}

// pin returns a base image as it is to be, and its build key, whether or not it is there.
func (s *Scheduler) pin(ctx context.Context, name, platform string) (Base, string, error) {
	s.mu.Lock() // also while it is asked for: many containers want the same
	defer s.mu.Unlock()
	if p, ok := s.pinned[platform+" "+name]; ok {
		return p.base, p.key, nil
	}
	b, err := s.describeBase(name, platform)
	if err != nil {
		return b, "", err
	}
	b, key, err := b.Pin(ctx, s.Podman)
	if err != nil {
		return b, "", err
	}
	if s.pinned == nil {
		s.pinned = map[string]pinnedBase{}
	}
	s.pinned[platform+" "+name] = pinnedBase{b, key}
	return b, key, nil
}
