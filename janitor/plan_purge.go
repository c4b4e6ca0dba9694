package janitor

import (
	"context"
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A Purge names specs that are deleted at once, whatever their age.
type Purge struct {
	Pin          rootset.Pin
	Substring    bool // the pin is part of name@version/hash
	Dependents   bool // what needs them at run time goes too; else that is an error
	EvenIfNeeded bool // though a root, a pin or a root set needs them
}

// PlanPurge plans to remove specs on purpose. What a root, pin or root set
// needs is refused, and so is leaving dependents behind that could not be
// installed any more.
func (j Janitor) PlanPurge(ctx context.Context, purge Purge) (*Plan, error) {
	j = j.ready()
	j.Policy = Policy{MaxFraction: 1, Grace: j.Policy.Grace}
	return j.plan(ctx, &purge, limits{})
}

// decidePurge decides what a purge takes.
func (p *Plan) decidePurge() (*Plan, error) {
	s, purge := p.look.scan, p.purge
	needed := p.needed()
	p.allocate()
	p.marks = needed
	named := purge.match(s)
	if len(named) == 0 {
		return p.refuse(fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", purge.Pin, ErrNothingFor))
	}
	for _, at := range named {
		p.why[at] = room.Purged
	}
	p.spread(named, func(dag.ID) bool { return true })
	for at := range s.InCache() {
		if p.condemned(at) {
			p.state[at] = due
			p.due.Set(at)
		}
	}
	p.held = newMarks(s, buildcache.Runtime)
	p.fill(p.all, p.condemned)
	p.fill(p.objects, p.isDue)
	p.finish()
	if also := p.dependents(); len(also) > 0 && !purge.Dependents {
		return p.refuse(fmt.Errorf("%w: %d specs need it at run time, such as %s: they go too with --dependents", ErrRefused, len(also), strings.Join(also[:min(3, len(also))], ", ")))
	}
	for at := range p.due.All() {
		if s.Odd[at] {
			return p.refuse(fmt.Errorf("%w: %s is %s: remove it by hand", ErrRefused, s.DAG.Text(at), keepOdd))
		}
		if needed.has(at) {
			rule, chain := needed.chain(at)
			return p.refuse(fmt.Errorf("%w: %s needs %s: %s: say --even-if-needed if it shall go all the same", ErrRefused, rule, s.DAG.Text(at), strings.Join(chain, " → ")))
		}
	}
	if s.Opaque != "" {
		return p.refuse(fmt.Errorf("%w: %s", ErrRefused, s.Opaque))
	}
	if problem := p.look.problem(p.now.StoreTime(), ""); problem != "" && !purge.EvenIfNeeded {
		return p.refuse(fmt.Errorf("%w: %s", ErrRefused, problem))
	}
	if unknown := p.look.roots.Unknown; len(unknown) > 0 && !purge.EvenIfNeeded {
		return p.refuse(fmt.Errorf("%w: what needs it is not known: %s: say --even-if-needed if it shall go all the same", ErrRefused, strings.Join(unknown, "; ")))
	}
	if len(p.look.roots.Locks) == 0 && !purge.EvenIfNeeded {
		p.note("there are no lockfiles: pins and root sets alone say what is needed")
	}
	p.mends()
	for at := range p.due.All() { // in a later run, it is due as long as it is the same plan
		if !p.limits.allows(at, true) {
			p.due.Clear(at)
			p.state[at] = holding
		}
	}
	if p.limits.spec != nil {
		clear(p.objects)
		p.fill(p.objects, p.isDue)
		p.finish()
	}
	return p, p.prove()
}

// needed marks what a purge refuses.
func (p *Plan) needed() *marks {
	if p.purge.EvenIfNeeded {
		return newMarks(p.look.scan, rootset.Everything)
	}
	return p.markRoots()
}

func (u Purge) match(s *scan.Scan) []dag.ID {
	if !u.Substring {
		return match(s, u.Pin)
	}
	var found []dag.ID
	for at := range s.InCache() {
		if strings.Contains(s.DAG.Name(at)+"@"+s.DAG.Version(at)+"/"+string(s.DAG.Hash(at)), string(u.Pin)) {
			found = append(found, at)
		}
	}
	return found
}

// dependents returns the names of what goes for needing something that goes.
func (p *Plan) dependents() (names []string) {
	for c := range p.Specs() {
		if c.Reason == room.Dependent.String() {
			names = append(names, c.Name+"@"+c.Version)
		}
	}
	return names
}
