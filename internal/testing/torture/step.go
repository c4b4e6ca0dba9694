package torture

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// A Step is one thing that happens in a history. What it does not use is zero, and not printed.
type Step struct {
	ID   int           // stays when others are taken out: it is part of the seed of all that the step draws
	At   time.Duration // since the start
	Do   string        // see World.do
	Repo int           `json:",omitempty"`
	Env  int           `json:",omitempty"` // which environment, or which spec of the graph

	Layout   int           `json:",omitempty"`
	View     int           `json:",omitempty"`
	Force    bool          `json:",omitempty"`
	Announce bool          `json:",omitempty"`
	Update   bool          `json:",omitempty"`
	Pause    time.Duration `json:",omitempty"` // of the step, where it does one thing and then another
	Each     time.Duration `json:",omitempty"`
	Die      int           `json:",omitempty"`

	Faults *Faults `json:",omitempty"`
}

// A Call is what a command of the janitor is told.
type Call struct {
	Actor    *Actor
	Repo     string
	Locks    func() [][]byte // spack.lock texts, read anew whenever the command looks
	MaxAge   time.Duration
	Fraction float64 // the brake
	Memory   *any    // what a repository's runs remember from one to the next on their machine; nil is nothing
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
	Reindex(ctx context.Context, c Call) error
}

// do does a step and returns when it is done.
func (r *running) do(ctx context.Context, s Step) {
	w := r.w
	s.Repo, s.Env = s.Repo%r.Repos, s.Env%max(len(r.envs), 1+len(w.Graph.Specs)*btoi(s.Do == "purge" || s.Do == "spare"))
	if !slices.Contains(r.Layouts, s.Layout) {
		s.Layout = r.Layouts[0]
	}
	f := Faults{}
	if s.Faults != nil {
		f = *s.Faults
	}
	a, ctx := w.newActor(ctx, fmt.Sprintf("%s#%d", s.Do, s.ID), r.Seed<<16+uint64(s.ID), f)
	switch s.Do {
	case "push":
		r.push(ctx, a, s)
	case "copy":
		mirrorCopy(ctx, a, closure(r.envs[s.Env], false), s.Layout, r.Signed, s.Each)
	case "update-index":
		updateIndex(ctx, a, s.Layout, viewName(s.View), s.Pause)
	case "lock", "unlock":
		w.mu.Lock()
		if was := r.locked[s.Repo][s.Env]; s.Do == "lock" {
			r.locked[s.Repo][s.Env] = true
		} else if was && len(r.locked[s.Repo]) > 1 { // a repository that has nothing is refused
			delete(r.locked[s.Repo], s.Env)
		}
		w.mu.Unlock()
	default:
		r.janitor(ctx, a, s)
	}
}

func viewName(view int) string {
	if view == 0 {
		return ""
	}
	return fmt.Sprintf("view%d", view)
}

// push is a build: it says what it relies on, if it is one of ours, and pushes its environment.
func (r *running) push(ctx context.Context, a *Actor, s Step) {
	env := r.envs[s.Env]
	if s.Announce {
		var all []string
		for _, spec := range closure(env, true) {
			if !spec.External {
				all = append(all, spec.Hash)
			}
		}
		a.intent = func() map[string]bool { return hashes(closure(env, true)) }
		if err := r.under.Announce(ctx, r.call(a, s.Repo), all); err != nil {
			r.w.log(a, "announce: "+err.Error())
		} else {
			a.announced = true
		}
		a.intent = nil
	}
	err := push{specs: closure(env, s.ID%2 == 0), layout: s.Layout, signed: r.Signed, force: s.Force, build: s.Pause, each: s.Each,
		dieBehind: s.Die, update: s.Update}.run(ctx, a)
	r.w.log(a, "ends: "+errorText(err))
	if err == nil {
		r.w.pushEnded(a, env)
	}
}

// janitor is a command of the janitor.
func (r *running) janitor(ctx context.Context, a *Actor, s Step) {
	defer r.w.caught(a)
	c := r.call(a, s.Repo)
	roots := r.roots(s.Repo)
	run := &Run{Kind: s.Do, Repo: c.Repo, Roots: hashes(closure(roots, false))}
	a.intent = func() map[string]bool { return hashes(closure(r.rootsNow(s.Repo), false)) }
	hash := r.w.Graph.Specs[s.Env%len(r.w.Graph.Specs)].Hash
	if s.Do == "apply" || s.Do == "dry" {
		run.Dry = true
	}
	var err error
	if s.Do == "apply" {
		run.Kind = "dry"
		r.w.begin(a, run)
		plan, err := r.under.Plan(ctx, c)
		r.w.end(run, err)
		if err != nil {
			return
		}
		time.Sleep(s.Pause)
		run = &Run{Kind: "prune", Repo: c.Repo, Roots: hashes(closure(r.roots(s.Repo), false))}
		r.w.begin(a, run)
		r.w.end(run, r.under.ApplyPlan(ctx, c, plan))
		return
	}
	r.w.begin(a, run)
	switch s.Do {
	case "prune":
		err = r.under.Prune(ctx, c)
	case "dry":
		err = r.under.DryRun(ctx, c)
	case "purge":
		err = r.under.Purge(ctx, c, hash)
	case "spare":
		a.intent = func() map[string]bool { return map[string]bool{hash: true} }
		err = r.under.Spare(ctx, c, hash)
	case "publish":
		err = r.under.PublishRoots(ctx, c)
	case "reindex":
		err = r.under.Reindex(ctx, c)
	default:
		panic("no such step: " + s.Do)
	}
	r.w.end(run, err)
}

// caught makes a panic of the janitor a promise that is broken.
func (w *World) caught(a *Actor) {
	if p := recover(); p != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.oracle.fail("panic", "%s: %v\n%s", a.Name, p, debug.Stack())
	}
}

func (r *running) call(a *Actor, repo int) Call {
	var memory *any
	if repo%2 == 0 {
		memory = &r.memories[repo]
	}
	return Call{Actor: a, Repo: fmt.Sprintf("repo%d", repo), MaxAge: r.MaxAge, Fraction: 1, Memory: memory, Locks: func() (texts [][]byte) {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		for i, env := range r.envs {
			if r.locked[repo][i] {
				texts = append(texts, lockfile(env, 5+btoi(i%2 == 0)))
			}
		}
		return texts
	}}
}

// roots returns what a repository's lockfiles ask for now.
func (r *running) roots(repo int) []*Spec {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.rootsNow(repo)
}

func (r *running) rootsNow(repo int) (specs []*Spec) {
	for i, env := range r.envs {
		if r.locked[repo][i] {
			specs = append(specs, env...)
		}
	}
	return specs
}
