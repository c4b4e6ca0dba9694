package janitor_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A big cache of which a handful stays, and a lockfile of as many specs that
// were never pushed here. Time goes with the number of specs, not with its
// square: 100 000 take about a minute.
func TestRegression1OnePlanEndsOfManyThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	const specs = 10_000
	c := synth.Cache{Specs: specs, Seed: 1, Layout: 3, Newest: old, Shallow: true}
	m := newMemory(func() time.Time { return now })
	err := c.Fill(func(o synth.Object) error {
		m.store(o.Key, o.Body, o.ModTime)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	env, err := rootset.ParseLock("env", c.Lockfile(c.Roots(1)...))
	if err != nil {
		t.Fatal(err)
	}
	other := synth.Cache{Specs: specs, Seed: 2, Layout: 3}
	absent, err := rootset.ParseLock("elsewhere", other.Lockfile(other.Roots(specs)...))
	if err != nil {
		t.Fatal(err)
	}
	roots := rootset.Roots{Locks: []rootset.Lock{env, absent}}
	policy := janitor.Policy{Grace: day, KeepLast: 1, MaxFraction: 1}
	known := scan.OpenKnown("")
	began := time.Now()
	j := clean(m)
	j.Scan.Known, j.Policy, j.Policy.EvenIfWritten = known, policy, true
	j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
	p, err := j.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list(p.Specs())) < specs*9/10 || len(list(p.Deletions())) < 3*len(list(p.Specs())) {
		t.Fatalf("%d specs and %d objects go", len(list(p.Specs())), len(list(p.Deletions())))
	}
	var blobs atomic.Int64
	m.reading = func(key string) error {
		if strings.HasPrefix(key, "blobs/") {
			blobs.Add(1)
		}
		return nil
	}
	res, err := j.Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	m.reading = nil
	// Once the index is replaced nothing but spec files describes the specs
	// that go; what was known before spares reading those, at every look.
	if n := blobs.Load(); n > 100 {
		t.Errorf("read %d blobs, want little more than the indexes", n)
	}
	if res.Specs != len(list(p.Specs())) || res.Objects != len(list(p.Deletions())) {
		t.Errorf("got %+v, want %d specs and %d objects", res, len(list(p.Specs())), len(list(p.Deletions())))
	}
	t.Logf("planned and applied in %s", time.Since(began))
	left := 0
	for key := range m.contents() {
		if strings.HasPrefix(key, "v3/manifests/spec/") {
			left++
		}
	}
	if left != len(list(p.Kept())) || left != specs-2-len(list(p.Specs())) { // two are external
		t.Errorf("%d specs are left, want %d", left, len(list(p.Kept())))
	}
	again, err := j.Plan(t.Context())
	if err != nil || !quiet(again) {
		t.Errorf("a second plan would do %d: %v", len(list(again.Deletions())), err)
	}
}
