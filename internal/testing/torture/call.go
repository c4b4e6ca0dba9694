package torture

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Call is what a command of the janitor is told.
type Call struct {
	Actor  *Actor
	Mirror string // its address
	Repo   string
	Locks  func() [][]byte // spack.lock texts, read anew whenever the command looks
	Pins   func() []string
	Uses   map[string]time.Time // hashes, and when they were fetched
	Rules
	Raise     float64                                           // the brake, this time
	Memory    *any                                              // what a repository's runs remember from one to the next on their machine; nil is nothing
	Inventory Inventory                                         // by which to condemn, instead of listing the bucket
	HandOver  func(step int, objects []buildcache.Object) error // who deletes instead, later and step by step
}

// An Inventory is a list of the bucket that was made some time ago.
type Inventory interface {
	List(ctx context.Context, prefix string) iter.Seq2[buildcache.Object, error]
	At() time.Time
}

// A Janitor is what is tortured: the commands that a history uses.
type Janitor interface {
	Prune(ctx context.Context, c Call) error
	DryRun(ctx context.Context, c Call) error
	Plan(ctx context.Context, c Call) ([]byte, error)
	ApplyPlan(ctx context.Context, c Call, plan []byte) error
	Purge(ctx context.Context, c Call, hash string) error
	Spare(ctx context.Context, c Call, hash string) error
	Announce(ctx context.Context, c Call, hashes []string) error
	PublishRoots(ctx context.Context, c Call) error
	Forget(ctx context.Context, c Call, repo string) error
	Reindex(ctx context.Context, c Call) error
}

func (r *running) call(a *Actor, repo int) Call {
	c := Call{Actor: a, Mirror: a.mirror, Repo: fmt.Sprintf("repo%d", repo), Rules: r.Rules}
	if repo%2 == 0 {
		c.Memory = &r.memories[repo]
	}
	c.Locks = func() (texts [][]byte) {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		for i, env := range r.envs {
			if r.locked[repo][i] && !r.NoRoots {
				texts = append(texts, lockfile(env, 5+btoi(i%2 == 0)))
			}
		}
		return texts
	}
	c.Pins = func() []string {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		return slices.Clone(r.pinned[repo])
	}
	if r.Used > 0 {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		c.Uses = maps.Clone(r.w.fetched)
	}
	return c
}

// roots returns what a repository's lockfiles and pins ask for now.
func (r *running) roots(repo int) []*Spec {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.rootsNow(repo)
}

func (r *running) rootsNow(repo int) (specs []*Spec) {
	for i, env := range r.envs {
		if r.locked[repo][i] && !r.NoRoots {
			specs = append(specs, env...)
		}
	}
	for _, pin := range r.pinned[repo] {
		for _, s := range r.w.Graph.Specs {
			if r.w.oracle.present(s.Hash) && (pin == s.Name || pin == "/"+s.Hash[:8]) {
				specs = append(specs, s)
			}
		}
	}
	return specs
}

// mustHold returns what a repository's root set must hold: all that its lockfiles have, and what
// its pins find.
func (r *running) mustHold(repo int, run *Run) map[string]bool {
	var locked []*Spec
	for i, env := range r.envs {
		if r.locked[repo][i] && !r.NoRoots {
			locked = append(locked, env...)
		}
	}
	set := hashes(closure(locked, false))
	for hash := range hashes(closure(r.rootsNow(repo), false)) {
		if _, since := r.w.oracle.spec(hash); !since.IsZero() && since.Before(run.begun) {
			set[hash] = true
		}
	}
	return set
}

// pinOf is a pin by name, or by the beginning of a hash.
func (r *running) pinOf(s Step) string {
	spec := r.w.Graph.Specs[s.Env%len(r.w.Graph.Specs)]
	if s.ID%2 == 0 || spec.External {
		return "/" + spec.Hash[:8]
	}
	return spec.Name
}

// An inventory is the bucket as it was.
type inventory struct {
	w  *World
	at time.Time
}

// At returns when it was made, by the store's clock.
func (i inventory) At() time.Time { return i.w.storeTime().Add(-time.Since(i.at)) }

// List yields the objects in no order.
func (i inventory) List(_ context.Context, prefix string) iter.Seq2[buildcache.Object, error] {
	i.w.mu.Lock()
	page, _ := i.w.bucket.at(i.at).page(prefix, "", 1<<30)
	i.w.mu.Unlock()
	slices.Reverse(page)
	return func(yield func(buildcache.Object, error) bool) {
		for _, l := range page {
			if !yield(l.show(), nil) {
				return
			}
		}
	}
}

// A batch is S3 Batch Operations: it deletes versions of objects, step by step, some time after the
// janitor has ended.
type batch struct {
	w     *World
	run   *Run
	name  string
	steps [][]listed
}

func (b *batch) take(step int, objects []buildcache.Object) error {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if step != len(b.steps)+1 {
		b.w.oracle.fail("batch", "step %d was handed over after %d", step, len(b.steps))
	}
	var versions []listed
	for _, x := range objects {
		if o := b.w.bucket.objects[x.Key]; o != nil && o.etag == x.ETag && o.mod.Equal(x.ModTime) {
			versions = append(versions, listed{x.Key, o})
		}
	}
	b.steps = append(b.steps, versions)
	return nil
}

// work deletes what the run has handed over, if it was not killed.
func (b *batch) work(pause time.Duration) {
	if b.run.actor.dead {
		return
	}
	time.Sleep(pause)
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	by := &Actor{Name: b.name + "-batch", w: b.w, Run: b.run, handed: map[string]bool{}}
	for _, version := range slices.Concat(b.steps...) {
		if _, hash := sortKey(version.key); hash != "" {
			by.handed[hash] = true
		}
	}
	for _, step := range b.steps {
		for _, version := range step {
			if b.w.bucket.objects[version.key] == version.object {
				b.w.remove(by, version.key)
			}
		}
	}
}
