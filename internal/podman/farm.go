package podman

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Farm builds containers for several platforms, each on the first of its hosts that can.
type Farm struct {
	Podman    Podman              // of this machine
	Native    string              // the platform of this machine
	Hosts     map[string][]string // by platform
	Bases     map[string][]Base   // by platform: builder and runtime, not pinned
	Emulation func(ctx context.Context, platform string) error
	Published func(ctx context.Context, record image.Record) (*image.Record, error) // what is there already; nil: nothing
	Secrets   Secrets
	Work      string // a folder; what is in it may be removed at any time
	Tree      image.Tree
	Watch     func(Event)
	Now       func() time.Time
	Force     bool // build also what is up to date
	FailFast  bool // the first failure stops the others

	mu      sync.Mutex
	keeper  *Keeper
	tunnels map[string]*Tunnel
	busy    map[string]chan struct{} // one build at a time on each host
	bases   map[string]BuiltBase     // by host, platform and name
	pinned  map[string]pinnedBase    // by platform and name
}

// A Plan says what is to be done about a container for one platform, and why.
type Plan struct {
	Container Container
	Record    image.Record // as it would be, without digest
	UpToDate  bool
	Where     string             // what it was compared with: out, registry, or empty where there is nothing
	Changes   []container.Change // since then
}

// Plan concretizes what has no lockfile yet and says what is up to date. Registries are asked in parallel.
func (f *Farm) Plan(ctx context.Context, containers []Container) ([]Plan, []error) {
	plans, errs := make([]Plan, len(containers)), make([]error, len(containers))
	var group errgroup.Group
	for i, c := range containers {
		group.Go(func() error {
			if plans[i], errs[i] = f.plan(ctx, c); errs[i] != nil {
				errs[i] = fmt.Errorf("%s for %s: %w", c.Name, c.Platform, errs[i])
			}
			plans[i].Container.Name, plans[i].Container.Platform = c.Name, c.Platform
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return plans, errs
}

func (f *Farm) plan(ctx context.Context, c Container) (Plan, error) {
	if err := f.lock(ctx, &c); err != nil {
		return Plan{}, err
	}
	_, runtimeKey, err := f.pin(ctx, Runtime, c.Platform)
	if err != nil {
		return Plan{}, err
	}
	record := c.Describe(container.Base{Name: Runtime, Key: runtimeKey})
	plan := Plan{Container: c, Record: record}
	old, err := f.Tree.Read(c.Name, c.Platform)
	if err == nil && old.BuildKey == record.BuildKey {
		plan.Where, plan.UpToDate, plan.Record = "out", true, old
		return plan, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Plan{}, err
	}
	there, askErr := f.ask(ctx, record)
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

func (f *Farm) ask(ctx context.Context, record image.Record) (*image.Record, error) {
	if f.Published == nil {
		return nil, nil
	}
	return f.Published(ctx, record)
}

// lock takes the lockfile that an earlier concretization of the same environment by the same builder left, or
// concretizes. A container that brings its own keeps it.
func (f *Farm) lock(ctx context.Context, c *Container) error {
	if c.Lock != nil {
		return nil
	}
	_, builderKey, err := f.pin(ctx, Builder, c.Platform)
	if err != nil {
		return err
	}
	key := hexSum(append([]byte(builderKey+"\n"), c.Spack...))
	path := filepath.Join(f.Work, "locks", c.Name, filepath.FromSlash(c.Platform), key+".lock")
	text, err := os.ReadFile(path)
	if err == nil {
		return c.SetLock(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err = f.withHost(ctx, *c, func(e Engine) error {
		text, err = e.Lock(ctx, *c)
		return err
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := image.WriteFile(path, text); err != nil {
		return err
	}
	return c.SetLock(text)
}

// Lock returns the lockfile of a container: what an earlier concretization left, or a new one.
func (f *Farm) Lock(ctx context.Context, c Container) ([]byte, error) {
	err := f.lock(ctx, &c)
	return c.LockText, err
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
	Took     time.Duration `json:"-"`
	Seconds  float64       `json:"seconds"`
	Size     int64         `json:"size,omitempty"`
	Digest   string        `json:"digest,omitempty"`
	Passed   []string      `json:"passed,omitempty"` // hosts that could not, and why
	Message  string        `json:"error,omitempty"`
	Record   image.Record  `json:"-"`
	Err      error         `json:"-"`
}

// Build makes what is not up to date, one build at a time on each host. A failure stops nobody else, unless FailFast.
func (f *Farm) Build(ctx context.Context, containers []Container) []Result {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	results := make([]Result, len(containers))
	var group errgroup.Group
	for i, c := range containers {
		group.Go(func() error {
			results[i] = f.build(ctx, c, stop)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the results
	return results
}

// build makes one container. Where the first failure stops the others, it does before the host is free for them.
func (f *Farm) build(ctx context.Context, c Container, stop func()) Result {
	began := time.Now()
	result := Result{Name: c.Name, Platform: c.Platform}
	plan, err := f.plan(ctx, c)
	switch {
	case err != nil:
		result.Err = err
	case plan.UpToDate && !f.Force:
		result.Outcome, result.Record = UpToDate, plan.Record
	default:
		result.Outcome, plan.Container.Anew = Built, f.Force
		result.Passed, result.Err = f.withHost(ctx, c, func(e Engine) error {
			result.Host = e.Host
			result.Record, err = e.Build(ctx, plan.Container)
			if f.FailFast && err != nil && !IsHostError(err) {
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
		result.Size = f.size(result.Record)
	}
	f.tell(Event{Container: c.Name, Platform: c.Platform, Done: true})
	result.Took = time.Since(began)
	result.Seconds = result.Took.Seconds()
	return result
}

func (f *Farm) tell(e Event) {
	if f.Watch != nil {
		f.Watch(e)
	}
}

// size is what the layers take as they are stored; 0 where the image is elsewhere.
func (f *Farm) size(record image.Record) (sum int64) {
	img, err := f.Tree.Open(record)
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

// withHost lets the first host that can do something for a container, and returns what was wrong with those before it.
func (f *Farm) withHost(ctx context.Context, c Container, do func(Engine) error) (passed []string, err error) {
	platform := c.Platform
	hosts := f.Hosts[platform]
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no host builds %s: name one under platforms in spacktainers.yaml, e.g. hosts: [%s]", platform, Emulate)
	}
	for _, host := range hosts {
		err := c.Mirror.seenFrom(host, platform)
		if err == nil {
			err = f.onHost(ctx, host, platform, do)
		}
		if !IsHostError(err) || ctx.Err() != nil {
			return passed, err
		}
		passed = append(passed, err.Error())
	}
	return passed, fmt.Errorf("no host can build %s: %s", platform, strings.Join(passed, "; "))
}

func (f *Farm) onHost(ctx context.Context, host, platform string, do func(Engine) error) error {
	leave, err := f.enter(ctx, host)
	defer leave()
	if err != nil {
		return err
	}
	keeper, err := f.keep()
	if err != nil {
		return err
	}
	p, err := f.open(ctx, host, platform, keeper.Addr())
	if err != nil {
		return err
	}
	e := Engine{Host: host, Podman: p, Secrets: f.Secrets, Keeper: keeper, Work: filepath.Join(f.Work, "build"), Tree: f.Tree, Watch: f.Watch, Now: f.Now}
	for name, to := range map[string]*BuiltBase{Builder: &e.Builder, Runtime: &e.Runtime} {
		if *to, err = f.base(ctx, p, host, platform, name); err != nil {
			return &HostError{Host: host, Err: err}
		}
	}
	return do(e)
}

// enter waits until no other build is on the host.
func (f *Farm) enter(ctx context.Context, host string) (leave func(), err error) {
	f.mu.Lock()
	if f.busy == nil {
		f.busy = map[string]chan struct{}{}
	}
	if f.busy[host] == nil {
		f.busy[host] = make(chan struct{}, 1)
	}
	free := f.busy[host]
	f.mu.Unlock()
	select {
	case free <- struct{}{}:
		return func() { <-free }, ctx.Err()
	case <-ctx.Done():
		return func() {}, context.Cause(ctx)
	}
}

// keep returns the keeper of all builds.
func (f *Farm) keep() (*Keeper, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper != nil {
		return f.keeper, nil
	}
	var err error
	f.keeper, err = NewKeeper()
	return f.keeper, err
}

// open returns podman on a host, for whoever has entered it.
func (f *Farm) open(ctx context.Context, host, platform, keeper string) (Podman, error) {
	here := f.Podman
	here.Keeper = keeper
	switch host {
	case Local:
		if platform != f.Native {
			return Podman{}, &HostError{Host: host, Err: fmt.Errorf("it is %s", f.Native)}
		}
		return here, nil
	case Emulate:
		if platform == f.Native {
			return here, nil
		}
		if err := f.Emulation(ctx, platform); err != nil {
			return Podman{}, &HostError{Host: host, Err: err}
		}
		return here, nil
	}
	f.mu.Lock()
	open := f.tunnels[host]
	f.mu.Unlock()
	if open != nil {
		return open.Podman, nil
	}
	tunnel, err := Dial(ctx, here, host)
	if err != nil {
		return Podman{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tunnels == nil {
		f.tunnels = map[string]*Tunnel{}
	}
	f.tunnels[host] = tunnel
	return tunnel.Podman, nil
}

// Close ends the keeper and the connections to other hosts.
func (f *Farm) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keeper != nil {
		f.keeper.Close()
	}
	for _, t := range f.tunnels {
		t.Close()
	}
	f.tunnels = nil
}

// base returns a base image on a host, which is built there where it is missing or not up to date.
func (f *Farm) base(ctx context.Context, p Podman, host, platform, name string) (BuiltBase, error) {
	key := host + " " + platform + " " + name
	f.mu.Lock()
	built, ok := f.bases[key]
	f.mu.Unlock()
	if ok {
		return built, nil
	}
	b, _, err := f.pin(ctx, name, platform)
	if err != nil {
		return BuiltBase{}, err
	}
	f.tell(Event{Container: "base image " + name, Platform: platform, Step: "look, and build if it is not up to date"})
	defer f.tell(Event{Container: "base image " + name, Platform: platform, Done: true})
	if built, err = b.Ensure(ctx, p, filepath.Join(f.Work, "base"), p.URL == "" && platform == f.Native, false); err != nil {
		return built, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bases == nil {
		f.bases = map[string]BuiltBase{}
	}
	f.bases[key] = built
	return built, nil
}

func (f *Farm) describeBase(name, platform string) (Base, error) {
	for _, b := range f.Bases[platform] {
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
func (f *Farm) pin(ctx context.Context, name, platform string) (Base, string, error) {
	f.mu.Lock() // also while it is asked for: many containers want the same
	defer f.mu.Unlock()
	if p, ok := f.pinned[platform+" "+name]; ok {
		return p.base, p.key, nil
	}
	b, err := f.describeBase(name, platform)
	if err != nil {
		return b, "", err
	}
	b, key, err := b.Pin(ctx, f.Podman)
	if err != nil {
		return b, "", err
	}
	if f.pinned == nil {
		f.pinned = map[string]pinnedBase{}
	}
	f.pinned[platform+" "+name] = pinnedBase{b, key}
	return b, key, nil
}
