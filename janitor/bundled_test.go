package janitor_test

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

var bundled = []string{"v2-signed", "v2-unsigned", "v3-signed", "v3-unsigned"}

// bold is a policy that takes whatever no root needs.
var bold = janitor.Policy{Grace: 2 * day, MaxFraction: 1}

func locks(t testing.TB, cache string, envs ...string) rootset.Roots {
	t.Helper()
	var roots rootset.Roots
	for _, env := range envs {
		l, err := rootset.ReadLock(env, func() (io.ReadCloser, error) { return os.Open(lockPath(cache, env)) })
		if err != nil {
			t.Fatal(err)
		}
		roots.Locks = append(roots.Locks, l)
	}
	return roots
}

func scanned(t testing.TB, store buildcache.Store) *scan.Scan {
	t.Helper()
	s, err := scan.New(t.Context(), store, scan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// made remembers by which janitor a plan was made.
var made sync.Map

// planned makes a plan that waits for nothing, unless the policy says so.
func planned(t testing.TB, store janitor.Store, roots rootset.Roots, policy janitor.Policy) (*janitor.Plan, error) {
	t.Helper()
	j := clean(store)
	j.Policy, j.Policy.EvenIfWritten = policy, true
	j.Roots = func(context.Context) (rootset.Roots, error) { return roots, nil }
	p, err := j.Plan(t.Context())
	made.Store(p, j)
	return p, err
}

func plan(t testing.TB, store janitor.Store, roots rootset.Roots, policy janitor.Policy) *janitor.Plan {
	t.Helper()
	p, err := planned(t, store, roots, policy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clean is a janitor of the tests' time.
func clean(store janitor.Store) janitor.Janitor {
	return janitor.Janitor{Store: store, Owner: "test", Mirror: "mirror", Settle: -1, Now: func() time.Time { return now },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// of is the janitor that made a plan, for a store.
func of(p *janitor.Plan, store janitor.Store) janitor.Janitor {
	j, ok := made.Load(p)
	if !ok {
		return clean(store)
	}
	with := j.(janitor.Janitor)
	with.Store = store
	return with
}

func apply(t testing.TB, store janitor.Store, p *janitor.Plan) janitor.Result {
	t.Helper()
	r, err := of(p, store).Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPruneKeepsExactlyWhatTheLockfilesNeed(t *testing.T) {
	for _, name := range bundled {
		for _, runtimeOnly := range []bool{false, true} {
			policy := bold
			policy.DropBuild = runtimeOnly
			for _, envs := range [][]string{{"env-a"}, {"env-b"}, {"env-a", "env-b"}, {"env-hello"}} {
				t.Run(name+"/"+strings.Join(envs, "+"), func(t *testing.T) {
					m := loaded(t, name)
					roots := locks(t, name, envs...)
					apply(t, m, plan(t, m, roots, policy))
					var files []string
					for _, env := range envs {
						files = append(files, lockPath(name, env))
					}
					want := lockClosure(t, runtimeOnly, files...)
					v := view(t, m.contents())
					if diff := cmp.Diff(want, slices.Sorted(maps.Keys(v.installable))); diff != "" {
						t.Errorf("what is in the cache (-want +got):\n%s", diff)
					}
					for key, hashes := range v.indexed {
						if diff := cmp.Diff(want, slices.Sorted(maps.Keys(hashes))); diff != "" {
							t.Errorf("what %s has (-want +got):\n%s", key, diff)
						}
					}
					if again := plan(t, m, roots, policy); !quiet(again) {
						t.Errorf("a second run would do something: %+v", list(again.Deletions()))
					}
				})
			}
		}
	}
}
