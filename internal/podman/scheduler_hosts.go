package podman

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A task is what a host does for a container.
type task struct {
	name  string
	bases []string // that it takes
}

var (
	building     = task{"build", []string{Builder, Runtime}}
	concretizing = task{"concretize", []string{Builder}}
)

// placesOf is how many containers a host does the task for at a time. Spack builds on all cores, so
// that more than one is for who asks for it, and concretizes on one, in about a gigabyte; how many
// cores another host has is not known.
func (s *Scheduler) placesOf(t task, host string) int {
	switch {
	case t.name == building.name:
		return max(1, s.Jobs[host])
	case host == Local || host == Emulate:
		return min(runtime.NumCPU(), 8)
	}
	return 4
}

// withHost lets the first host that can do something for a container, and returns what was wrong
// with those before it.
func (s *Scheduler) withHost(ctx context.Context, c Container, t task, do func(Engine) error) (passed []string, err error) {
	platform := c.Platform
	hosts := s.Hosts[platform]
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no host builds %s: name one under platforms in spacktainers.yaml, e.g. hosts: [%s]", platform, Emulate)
	}
	for _, host := range hosts {
		err := s.onHost(ctx, host, platform, t, do)
		if !IsHostError(err) || ctx.Err() != nil {
			return passed, err
		}
		passed = append(passed, err.Error())
	}
	return passed, fmt.Errorf("no host can build %s: %s", platform, strings.Join(passed, "; "))
}

func (s *Scheduler) onHost(ctx context.Context, host, platform string, t task, do func(Engine) error) error {
	leave, err := s.enter(ctx, host, t)
	defer leave()
	if err != nil {
		return err
	}
	p, err := s.open(ctx, host, platform)
	if err != nil {
		return err
	}
	e := Engine{Host: host, Podman: p, Gateway: s.Gateway, Work: s.work(), Tree: s.Tree, Watch: s.Watch, Now: s.Now}
	for _, name := range t.bases {
		base, err := s.base(ctx, p, host, platform, name)
		if err != nil {
			return &HostError{Host: host, Err: err}
		}
		if name == Builder {
			e.Builder = base
		} else {
			e.Runtime = base
		}
	}
	return do(e)
}

// work is the folder of what podman builds from.
func (s *Scheduler) work() string { return filepath.Join(s.Work, "build") }

// enter waits until the host has a place for one more.
func (s *Scheduler) enter(ctx context.Context, host string, t task) (leave func(), err error) {
	free, _ := s.places.do(host+" "+t.name, func() (chan struct{}, error) { return make(chan struct{}, s.placesOf(t, host)), nil })
	select {
	case free <- struct{}{}:
		return func() { <-free }, ctx.Err()
	case <-ctx.Done():
		return func() {}, context.Cause(ctx)
	}
}

// open returns podman on a host, for the build that has entered it.
func (s *Scheduler) open(ctx context.Context, host, platform string) (Podman, error) {
	here := s.Podman
	if here.Gateway = s.Gateway.Addr(); here.Namespace != nil {
		here.Gateway = here.Namespace.Addr()
	}
	switch host {
	case Local:
		if platform != s.Native {
			return Podman{}, &HostError{Host: host, Err: fmt.Errorf("it is %s", s.Native)}
		}
		return here, nil
	case Emulate:
		if platform == s.Native {
			return here, nil
		}
		if err := s.Emulation(ctx, platform); err != nil {
			return Podman{}, &HostError{Host: host, Err: err}
		}
		return here, nil
	}
	if s.Isolated {
		return Podman{}, &HostError{Host: host, Err: errors.New("builds there share its network: --isolated takes this machine, and root")}
	}
	here.Gateway = s.Gateway.Addr()
	tunnel, err := s.tunnels.do(host, func() (*Tunnel, error) { return Dial(ctx, here, host) })
	if err != nil {
		return Podman{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.opened, tunnel) {
		s.opened = append(s.opened, tunnel)
	}
	return tunnel.Podman, nil
}

// Close ends the connections to other hosts, and the gateway.
func (s *Scheduler) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Gateway.Close()
	for _, t := range s.opened {
		t.Close()
	}
	s.opened = nil
}
