package janitor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/lease"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// quick returns a janitor that does not wait long for rivals, and what it says.
func quick(store janitor.Store) (janitor.Janitor, *strings.Builder) {
	said := new(strings.Builder)
	return janitor.Janitor{Store: store, Owner: "test", Mirror: "mirror", Settle: -1, Sleep: func(context.Context, time.Duration) error { time.Sleep(50 * time.Millisecond); return nil }, Now: func() time.Time { return now },
		Log: func(format string, args ...any) { fmt.Fprintf(said, format+"\n", args...) }}, said
}

func TestAStoreThatHeedsNoConditions(t *testing.T) {
	for _, name := range bundled {
		m := loaded(t, name)
		m.ignores = true
		j, said := quick(m)
		if _, err := withRoots(j, locks(t, name, "env-a")).Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.String(), "the store honours no conditional writes: ") {
			t.Errorf("said %s", said)
		}
		if diff := cmp.Diff(lockClosure(t, false, lockPath(name, "env-a")), sorted(view(t, m.contents()).installable)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for key := range m.objects {
			if strings.HasSuffix(key, "/lease") {
				t.Errorf("%s was left", key)
			}
		}
	}
}

// Somebody writes an index after ours was read and before it is written.
func TestAStoreThatHeedsNoConditionsIsLookedAtBeforeItIsWritten(t *testing.T) {
	for layout := 2; layout <= 3; layout++ {
		w := newWorld(t, 3, layout)
		stays, goes, fresh := w.add(0), w.add(0), w.add(0)
		for _, n := range []*node{stays, goes, fresh} {
			n.External = nil
		}
		w.push(stays, old)
		w.push(goes, old)
		w.updateIndex(old)
		p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", stays)}}, bold)
		w.m.ignores = true
		raced := 0
		w.m.before = func(_, key string) error {
			if strings.HasSuffix(key, "/room") && raced == 0 { // which says that the index is about to be replaced
				raced++
				w.push(fresh, now)
				w.updateIndex(now)
			}
			return nil
		}
		j, _ := quick(w.m)
		j.Policy, j.Roots = of(p, w.m).Policy, of(p, w.m).Roots
		if _, err := j.Apply(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		v := view(t, w.m.contents())
		v.noHoles(t, "replaced meanwhile")
		for key, indexed := range v.indexed {
			if raced != 1 || !indexed[fresh.Hash] || !indexed[stays.Hash] || indexed[goes.Hash] && v.installable[goes.Hash] {
				t.Errorf("%s, raced %d times: got %v", key, raced, indexed)
			}
		}
	}
}

// A rival has seen no lease either, and writes its own just after ours.
func TestALostRaceForTheLeaseIsNoticed(t *testing.T) {
	m := loaded(t, "v3-unsigned")
	m.ignores = true
	p := plan(t, m, locks(t, "v3-unsigned", "env-a"), bold)
	before := m.contents()
	j, _ := quick(m)
	j.Sleep = func(context.Context, time.Duration) error { // it has written, and waits for rivals
		claim, _ := json.Marshal(map[string]any{"owner": "rival", "nonce": "1", "run": "2", "expires": now.Add(time.Hour)})
		m.set(janitor.Prefix+"lease", claim, now)
		return nil
	}
	j.Policy, j.Roots = of(p, m).Policy, of(p, m).Roots
	if _, err := j.Apply(t.Context(), p); !errors.Is(err, lease.ErrTaken) || !strings.Contains(err.Error(), "rival") {
		t.Errorf("got %v", err)
	}
	if !cmp.Equal(before, m.contents()) {
		t.Error("the loser changed the cache")
	}
}

// Servers that ignore the headers, know one of the two, or refuse them.
func TestServersWithoutConditionalWrites(t *testing.T) {
	has := func(names ...string) func(faultproxy.Request) bool {
		return func(r faultproxy.Request) bool {
			for _, name := range names {
				if faultproxy.IsPut(r) && r.Header.Get(name) != "" {
					return true
				}
			}
			return false
		}
	}
	server := s3test.MinIO(t)
	for name, tt := range map[string]struct {
		match   func(faultproxy.Request) bool
		refuses bool
		say     string
	}{
		"ignores both":      {has("If-Match", "If-None-Match"), false, "honours no conditional writes"},
		"ignores one":       {has("If-Match"), false, "honours no If-Match"},
		"ignores the other": {has("If-None-Match"), false, "honours no If-None-Match"},
		"refuses both":      {has("If-Match", "If-None-Match"), true, "honours no conditional writes"},
		"knows both":        {has(), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			mirror := oldBucket(t, server, "v2-unsigned")
			direct := bucket(t, server, server.Endpoint, mirror, nil)
			fault := faultproxy.Fail(501, "NotImplemented")
			if !tt.refuses {
				fault = func(w http.ResponseWriter, r *http.Request, _ func() *faultproxy.Reply) {
					_, key, _ := strings.Cut(r.URL.Path, "/some/prefix/")
					body, _ := io.ReadAll(r.Body)
					etag, err := direct.Put(r.Context(), key, bytes.NewReader(body), int64(len(body)), buildcache.PutOptions{})
					if err != nil {
						t.Error(err)
					}
					w.Header().Set("ETag", `"`+etag+`"`)
				}
			}
			proxy := faultproxy.New(t, server.Endpoint)
			proxy.Add(faultproxy.Rule{Match: tt.match, Fault: fault})
			store := bucket(t, server, proxy.URL, mirror, nil)
			j, said := quick(store)
			j.Now = nil
			if _, err := withRoots(j, locks(t, "v2-unsigned", "env-a")).Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(said.String(), "the store honours"); got != (tt.say != "") || !strings.Contains(said.String(), tt.say) {
				t.Errorf("said %s", said)
			}
			pruned(t, direct, "v2-unsigned", "env-a")
			if n := proxy.Count(func(r faultproxy.Request) bool {
				return strings.HasSuffix(r.Path, "/lease") && faultproxy.IsPut(r)
			}); n > 4 {
				t.Errorf("%d requests to write the lease and look what the store can do", n)
			}
		})
	}
}

func withRoots(j janitor.Janitor, roots rootset.Roots) janitor.Janitor {
	j.Policy, j.Policy.EvenIfWritten = bold, true
	j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
	return j
}

// A repeated store sends each write of an index twice, as clients do when the
// first reply is lost: the second one is refused.
type repeated struct{ *memory }

func (r repeated) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	tag, err := r.memory.Put(ctx, key, body, size, opts)
	if err != nil || !strings.Contains(key, "index") {
		return tag, err
	}
	return r.memory.Put(ctx, key, body, size, opts)
}

// An index that was written in spite of the refusal was written: clients have
// the one of before, and are waited for.
func TestAnIndexWhoseReplyWasLostIsWaitedFor(t *testing.T) {
	both(t, func(t *testing.T, layout int) {
		s, _, d := condemnedStage(t, layout)
		j, before := s.janitor(), s.at
		j.Store = repeated{s.m}
		if r, err := j.Prune(t.Context()); err != nil || r.Specs != 1 || s.indexed(d) {
			t.Fatalf("got %+v, %v", r, err)
		}
		if s.at.Sub(before) < 10*time.Minute {
			t.Error("clients still had the index of before")
		}
	})
}
