package podman

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// A fresh checkout on another machine, where all is published and nothing changed, solves and
// builds nothing: not even the builder, in which it would.
func TestAFreshMachineTakesWhatIsPublished(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	requests := &counted{}
	client, err := registry.NewClient(registry.Options{Transport: requests})
	if err != nil {
		t.Fatal(err)
	}
	in := registry.Registry{Prefix: host + "/spack-"}
	machine := func() (*Scheduler, *podmanDouble) {
		s, double := newScheduler(t)
		double.lock = hello(t).LockText
		s.Published = func(ctx context.Context, want image.Record) (*image.Record, error) {
			return client.Published(ctx, in, want)
		}
		s.Locked = func(ctx context.Context, c Container, key string) ([]byte, error) {
			repository, err := in.Repository(c.Name)
			if err != nil {
				return nil, err
			}
			return publish.Lock(ctx, client, repository, key, nil)
		}
		return s, double
	}
	var names []string
	for i := range 13 {
		names = append(names, fmt.Sprintf("tool-%02d", i))
	}
	first, double := machine()
	for _, r := range first.Build(t.Context(), unlocked(t, first, names...)) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		release, err := publish.Read(first.Tree, r.Name, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		repository, err := in.Repository(r.Name)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := publish.NewPlan(t.Context(), client, repository, release, publish.Request{Tags: []string{release.Version}, Fixed: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Apply(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	if n := double.concretizations(); n != len(names) {
		t.Errorf("the first machine concretized %d times, want %d", n, len(names))
	}
	requests.n.Store(0)
	second, double := machine()
	second.Bases = first.Bases
	double.keys = nil // it has no base images
	plans, errs := second.Plan(t.Context(), unlocked(t, second, names...))
	if errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	for _, p := range plans {
		if !p.UpToDate || p.Where != "registry" || p.Record.Bytes == 0 {
			t.Errorf("%s: %+v", p.Container.Name, p)
		}
	}
	if builds := double.builds(); len(builds) > 0 {
		t.Errorf("podman was asked to %q", builds)
	}
	t.Logf("%d requests for %d containers", requests.n.Load(), len(names))
	for _, r := range second.Build(t.Context(), unlocked(t, second, names...)) {
		if r.Outcome != UpToDate {
			t.Errorf("%s: %s %v", r.Name, r.Outcome, r.Err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(second.Work, "*")); len(left) > 0 || len(double.builds()) > 0 {
		t.Errorf("left %q, and podman was asked to %q", left, double.builds())
	}
}

// counted counts requests.
type counted struct{ n atomic.Int64 }

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}
