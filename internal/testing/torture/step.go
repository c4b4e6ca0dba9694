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
func (h *running) do(ctx context.Context, s Step) {
	w := h.w
	s.Repo, s.Env = s.Repo%h.Repos, s.Env%max(len(h.envs), 1+len(w.Graph.Specs)*btoi(s.Do == "purge" || s.Do == "spare"))
	if !slices.Contains(h.Layouts, s.Layout) {
		s.Layout = h.Layouts[0]
	}
	f := Faults{}
	if s.Faults != nil {
		f = *s.Faults
	}
	a, ctx := w.newActor(ctx, fmt.Sprintf("%s#%d", s.Do, s.ID), h.Seed<<16+uint64(s.ID), f)
	switch s.Do {
	case "push":
		h.push(ctx, a, s)
	case "copy":
		mirrorCopy(ctx, a, closure(h.envs[s.Env], false), s.Layout, h.Signed, s.Each)
	case "update-index":
		updateIndex(ctx, a, s.Layout, viewName(s.View), s.Pause)
	case "lock", "unlock":
		w.mu.Lock()
		if was := h.locked[s.Repo][s.Env]; s.Do == "lock" {
			h.locked[s.Repo][s.Env] = true
		} else if was && len(h.locked[s.Repo]) > 1 { // a repository that has nothing is refused
			delete(h.locked[s.Repo], s.Env)
		}
		w.mu.Unlock()
	default:
		h.janitor(ctx, a, s)
	}
}

func viewName(view int) string {
	if view == 0 {
		return ""
	}
	return fmt.Sprintf("view%d", view)
}

// push is a build: it says what it relies on, if it is one of ours, and pushes its environment.
func (h *running) push(ctx context.Context, a *Actor, s Step) {
	env := h.envs[s.Env]
	if s.Announce {
		var all []string
		for _, spec := range closure(env, true) {
			if !spec.External {
				all = append(all, spec.Hash)
			}
		}
		a.intent = func() map[string]bool { return hashes(closure(env, true)) }
		if err := h.under.Announce(ctx, h.call(a, s.Repo), all); err != nil {
			h.w.log(a, "announce: "+err.Error())
		} else {
			a.announced = true
		}
		a.intent = nil
	}
	err := push{specs: closure(env, s.ID%2 == 0), layout: s.Layout, signed: h.Signed, force: s.Force, build: s.Pause, each: s.Each,
		dieBehind: s.Die, update: s.Update}.run(ctx, a)
	h.w.log(a, "ends: "+errorText(err))
	if err == nil {
		h.w.pushEnded(a, env)
	}
}

// janitor is a command of the janitor.
func (h *running) janitor(ctx context.Context, a *Actor, s Step) {
	defer h.w.caught(a)
	c := h.call(a, s.Repo)
	roots := h.roots(s.Repo)
	run := &Run{Kind: s.Do, Repo: c.Repo, Roots: hashes(closure(roots, false))}
	a.intent = func() map[string]bool { return hashes(closure(h.rootsNow(s.Repo), false)) }
	hash := h.w.Graph.Specs[s.Env%len(h.w.Graph.Specs)].Hash
	if s.Do == "apply" || s.Do == "dry" {
		run.Dry = true
	}
	var err error
	if s.Do == "apply" {
		run.Kind = "dry"
		h.w.begin(a, run)
		plan, err := h.under.Plan(ctx, c)
		h.w.end(run, err)
		if err != nil {
			return
		}
		time.Sleep(s.Pause)
		run = &Run{Kind: "prune", Repo: c.Repo, Roots: hashes(closure(h.roots(s.Repo), false))}
		h.w.begin(a, run)
		h.w.end(run, h.under.ApplyPlan(ctx, c, plan))
		return
	}
	h.w.begin(a, run)
	switch s.Do {
	case "prune":
		err = h.under.Prune(ctx, c)
	case "dry":
		err = h.under.DryRun(ctx, c)
	case "purge":
		err = h.under.Purge(ctx, c, hash)
	case "spare":
		a.intent = func() map[string]bool { return map[string]bool{hash: true} }
		err = h.under.Spare(ctx, c, hash)
	case "publish":
		err = h.under.PublishRoots(ctx, c)
	case "reindex":
		err = h.under.Reindex(ctx, c)
	default:
		panic("no such step: " + s.Do)
	}
	h.w.end(run, err)
}

// caught makes a panic of the janitor a promise that is broken.
func (w *World) caught(a *Actor) {
	if p := recover(); p != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.oracle.fail("panic", "%s: %v\n%s", a.Name, p, debug.Stack())
	}
}

func (h *running) call(a *Actor, repo int) Call {
	var memory *any
	if repo%2 == 0 {
		memory = &h.memories[repo]
	}
	return Call{Actor: a, Repo: fmt.Sprintf("repo%d", repo), MaxAge: h.MaxAge, Fraction: 1, Memory: memory, Locks: func() (texts [][]byte) {
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		for i, env := range h.envs {
			if h.locked[repo][i] {
				texts = append(texts, lockfile(env, 5+btoi(i%2 == 0)))
			}
		}
		return texts
	}}
}

// roots returns what a repository's lockfiles ask for now.
func (h *running) roots(repo int) []*Spec {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.rootsNow(repo)
}

func (h *running) rootsNow(repo int) (specs []*Spec) {
	for i, env := range h.envs {
		if h.locked[repo][i] {
			specs = append(specs, env...)
		}
	}
	return specs
}
