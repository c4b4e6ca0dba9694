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
	Only     bool          `json:",omitempty"` // not what it needs
	Announce bool          `json:",omitempty"`
	Update   bool          `json:",omitempty"`
	Pause    time.Duration `json:",omitempty"` // of the step, where it does one thing and then another
	Each     time.Duration `json:",omitempty"`
	Die      int           `json:",omitempty"`

	Faults *Faults `json:",omitempty"`
}

// do does a step and returns when it is done.
func (r *running) do(ctx context.Context, s Step) {
	w := r.w
	s.Repo = s.Repo % r.Repos
	if !slices.Contains(bySpec, s.Do) {
		s.Env %= len(r.envs)
	}
	if !slices.Contains(r.Layouts, s.Layout) {
		s.Layout = r.Layouts[0]
	}
	f := Faults{}
	if s.Faults != nil {
		f = *s.Faults
	}
	a, ctx := w.newActor(ctx, fmt.Sprintf("%s#%d", s.Do, s.ID), r.Seed<<16+uint64(s.ID), f)
	a.Skew = w.clockOf(s.Repo)
	switch s.Do {
	case "push":
		r.push(ctx, a, s)
	case "copy":
		mirrorCopy(ctx, a, closure(r.envs[s.Env], false), s.Layout, r.Signed, s.Each)
	case "fetch":
		fetch(ctx, a, closure(r.envs[s.Env], false), s.Layout, s.Pause)
	case "move":
		w.move(a)
	case "update-index":
		updateIndex(ctx, a, w.Graph, s.Layout, viewName(s.View), s.Pause)
	case "lock", "unlock", "pin", "unpin":
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note(a, r.envs[s.Env%len(r.envs)].String())
		switch s.Do {
		case "lock":
			r.locked[s.Repo][s.Env] = true
		case "unlock":
			if r.locked[s.Repo][s.Env] && len(r.locked[s.Repo]) > 1 { // a repository that has nothing is refused
				delete(r.locked[s.Repo], s.Env)
			}
		case "pin":
			r.pinned[s.Repo] = append(r.pinned[s.Repo], r.pinOf(s))
		case "unpin":
			r.pinned[s.Repo] = nil
		}
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
	a.tested = time.Now()
	specs := closure(env, s.ID%2 == 0)
	if s.Only {
		specs = env
	}
	err := push{specs: specs, layout: s.Layout, signed: r.Signed, force: s.Force, build: s.Pause, each: s.Each,
		dieBehind: s.Die, update: s.Update}.run(ctx, a, r.w.Graph)
	r.w.log(a, "ends: "+errorText(err))
	if err == nil {
		r.w.pushEnded(a, env)
	}
}

// janitor is a command of the janitor.
func (r *running) janitor(ctx context.Context, a *Actor, s Step) {
	defer r.w.caught(a)
	c := r.call(a, s.Repo)
	run := &Run{Kind: s.Do, Repo: c.Repo, Roots: hashes(closure(r.roots(s.Repo), false))}
	a.intent = func() map[string]bool { return r.mustHold(s.Repo, run) }
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
		c.Uses = r.call(a, s.Repo).Uses // the access log is given anew
		run = &Run{Kind: "prune", Repo: c.Repo, Brake: c.Brake, Roots: hashes(closure(r.roots(s.Repo), false))}
		r.w.begin(a, run)
		r.w.end(run, r.under.ApplyPlan(ctx, c, plan))
		return
	}
	switch s.Do {
	case "purge":
		run.Purges = r.w.Graph.dependents(hash)
	case "raise":
		c.Raise = 1
		r.w.raised()
	case "inventory":
		run.Condemns, c.Inventory = true, inventory{r.w, time.Now().Add(-s.Pause)}
	case "batch":
		batch := &batch{w: r.w, run: run, name: a.Name}
		c.HandOver = batch.take
		defer func() { batch.work(s.Pause) }()
	}
	if slices.Contains(prunes, s.Do) {
		run.Kind, run.Brake = "prune", c.Brake
	}
	r.w.begin(a, run)
	switch s.Do {
	case "prune", "raise", "inventory", "batch":
		err = r.under.Prune(ctx, c)
	case "dry":
		err = r.under.DryRun(ctx, c)
	case "purge":
		err = r.under.Purge(ctx, c, hash)
	case "spare":
		a.intent = func() map[string]bool { return map[string]bool{hash: true} }
		err = r.under.Spare(ctx, c, hash)
	case "forget":
		a.intent = nil
		err = r.under.Forget(ctx, c, fmt.Sprintf("repo%d", s.Env%r.Repos))
	case "publish":
		err = r.under.PublishRoots(ctx, c)
	case "reindex":
		err = r.under.Reindex(ctx, c)
	default:
		panic("no such step: " + s.Do)
	}
	r.w.end(run, err)
}

var (
	// bySpec are steps whose Env is a spec of the graph.
	bySpec = []string{"purge", "spare", "pin"}
	// prunes are steps that prune, in one way or another.
	prunes = []string{"prune", "raise", "inventory", "batch"}
)

// caught makes a panic of the janitor a promise that is broken.
func (w *World) caught(a *Actor) {
	if p := recover(); p != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.oracle.fail("panic", "%s: %v\n%s", a.Name, p, debug.Stack())
	}
}
