package podman

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// withHost lets the first host that can do something for a container, and returns what was wrong with those before it.
func (s *Scheduler) withHost(ctx context.Context, c Container, do func(Engine) error) (passed []string, err error) {
	platform := c.Platform
	hosts := s.Hosts[platform]
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no host builds %s: name one under platforms in spacktainers.yaml, e.g. hosts: [%s]", platform, Emulate)
	}
	for _, host := range hosts {
		err := s.onHost(ctx, host, platform, do)
		if !IsHostError(err) || ctx.Err() != nil {
			return passed, err
		}
		passed = append(passed, err.Error())
	}
	return passed, fmt.Errorf("no host can build %s: %s", platform, strings.Join(passed, "; "))
}

func (s *Scheduler) onHost(ctx context.Context, host, platform string, do func(Engine) error) error {
	leave, err := s.enter(ctx, host)
	defer leave()
	if err != nil {
		return err
	}
	p, err := s.open(ctx, host, platform)
	if err != nil {
		return err
	}
	e := Engine{Host: host, Podman: p, Gateway: s.Gateway, Work: filepath.Join(s.Work, "build"), Tree: s.Tree, Watch: s.Watch, Now: s.Now}
	for name, to := range map[string]*BuiltBase{Builder: &e.Builder, Runtime: &e.Runtime} {
		if *to, err = s.base(ctx, p, host, platform, name); err != nil {
			return &HostError{Host: host, Err: err}
		}
	}
	return do(e)
}

// enter waits until no other build is on the host.
func (s *Scheduler) enter(ctx context.Context, host string) (leave func(), err error) {
	s.mu.Lock()
	if s.busy == nil {
		s.busy = map[string]chan struct{}{}
	}
	if s.busy[host] == nil {
		s.busy[host] = make(chan struct{}, 1)
	}
	free := s.busy[host]
	s.mu.Unlock()
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
	s.mu.Lock()
	open := s.tunnels[host]
	s.mu.Unlock()
	if open != nil {
		return open.Podman, nil
	}
	if s.Isolated {
		return Podman{}, &HostError{Host: host, Err: errors.New("builds there share its network: --isolated takes this machine, and root")}
	}
	here.Gateway = s.Gateway.Addr()
	tunnel, err := Dial(ctx, here, host)
	if err != nil {
		return Podman{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels == nil {
		s.tunnels = map[string]*Tunnel{}
	}
	s.tunnels[host] = tunnel
	return tunnel.Podman, nil
}

// Close ends the connections to other hosts, and the gateway.
func (s *Scheduler) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Gateway.Close()
	for _, t := range s.tunnels {
		t.Close()
	}
	s.tunnels = nil
}
