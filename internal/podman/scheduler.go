package podman

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/gateway"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Scheduler builds containers for several platforms, each on the first of its hosts that can.
type Scheduler struct {
	Podman    Podman              // of this machine
	Native    string              // the platform of this machine
	Hosts     map[string][]string // by platform
	Jobs      map[string]int      // by host, how many containers it builds at a time; 0: one
	Bases     map[string][]Base   // by platform: builder and runtime, not pinned
	Emulation func(ctx context.Context, platform string) error
	Published func(ctx context.Context, record image.Record) (*image.Record, error) // what is there already; nil: nothing
	Locked    func(ctx context.Context, c Container, key string) ([]byte, error)    // lockfile published under a concretization key; nil: none
	Gateway   *gateway.Gateway                                                      // of builds, to this machine
	Isolated  bool                                                                  // refuse hosts whose builds are not in a network of their own
	Work      string                                                                // a folder; what is in it may be removed at any time
	Tree      image.Tree
	Watch     func(Event)
	Announce  func(ctx context.Context, c Container) // is told of each build before it reads a build cache; may be nil
	Now       func() time.Time
	Force     bool // build also what is up to date
	Anew      bool // concretize also what has been
	FailFast  bool // the first failure stops the others

	LockedOnly    bool // ErrNoLock instead of concretizing: nothing is built, started or written
	PublishedOnly bool // what lies in Tree does not count, where a registry is asked

	tunnels once[*Tunnel]       // by host
	bases   once[BuiltBase]     // by host, platform and name
	pinned  once[pinnedBase]    // by platform and name
	places  once[chan struct{}] // by host and task
	mu      sync.Mutex
	opened  []*Tunnel
}

// An Outcome is what became of a container for one platform.
type Outcome string

// The outcomes.
const (
	Built    Outcome = "built"
	UpToDate Outcome = "up to date"
	Failed   Outcome = "failed"
	Stopped  Outcome = "not tried"
)

// A Result is what became of a plan.
type Result struct {
	Name     string        `json:"name"`
	Platform string        `json:"platform"`
	Host     string        `json:"host,omitempty"`
	Outcome  Outcome       `json:"result"`
	Took     time.Duration `json:"-"` // what was built on hosts, without waiting for them
	Seconds  float64       `json:"seconds"`
	Size     int64         `json:"bytes,omitempty"`
	Digest   string        `json:"digest,omitempty"`
	Passed   []string      `json:"passed,omitempty"` // hosts that could not, and why
	Message  string        `json:"error,omitempty"`
	Record   image.Record  `json:"-"`
	Err      error         `json:"-"`
}

// Build makes what is not up to date, one build at a time on each host. A failure stops no other
// build, unless FailFast.
func (s *Scheduler) Build(ctx context.Context, containers []Container) []Result {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	results := make([]Result, len(containers))
	var group errgroup.Group
	for i, c := range containers {
		group.Go(func() error {
			results[i] = s.build(ctx, c, stop)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the results
	return results
}

// build makes one container. Where the first failure stops the others, it does before the host is
// free for them.
func (s *Scheduler) build(ctx context.Context, c Container, stop func()) Result {
	result := Result{Name: c.Name, Platform: c.Platform}
	plan, err := s.plan(ctx, c)
	switch {
	case err != nil:
		result.Err = err
	case plan.UpToDate && !s.Force:
		result.Outcome, result.Record = UpToDate, plan.Record
	default:
		result.Outcome, plan.Container.Anew = Built, s.Force
		if taken := plan.Taken(); taken != "" {
			s.tell(Event{Container: c.Name, Platform: c.Platform, Note: taken})
		}
		if s.Announce != nil {
			s.Announce(ctx, plan.Container)
		}
		result.Passed, result.Err = s.withHost(ctx, c, building, func(e Engine) error {
			began := time.Now() // the host is ours by now
			defer func() { result.Took += time.Since(began) }()
			result.Host = e.Host
			result.Record, err = e.Build(ctx, plan.Container)
			if s.FailFast && err != nil && !IsHostError(err) {
				stop()
			}
			return err
		})
	}
	switch {
	case errors.Is(result.Err, context.Canceled):
		result.Outcome, result.Message = Stopped, result.Err.Error()
	case result.Err != nil:
		result.Outcome, result.Message = Failed, result.Err.Error()
	default:
		result.Digest = result.Record.Digest.String()
		result.Size = s.size(result.Record)
	}
	s.tell(Event{Container: c.Name, Platform: c.Platform, Done: true})
	result.Seconds = result.Took.Seconds()
	return result
}

func (s *Scheduler) tell(e Event) {
	if s.Watch != nil {
		s.Watch(e)
	}
}

// size is what the layers take as they are stored; 0 where the image is elsewhere.
func (s *Scheduler) size(record image.Record) (sum int64) {
	img, err := s.Tree.Open(record)
	if err != nil {
		return 0
	}
	manifest, err := img.Manifest()
	if err != nil {
		return 0
	}
	for _, layer := range manifest.Layers {
		sum += layer.Size
	}
	return sum
}
