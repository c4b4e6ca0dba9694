package janitor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Purge names specs that shall go whatever their age.
type Purge struct {
	Pin        Pin
	Substring  bool // the pin is part of name@version/hash
	Dependents bool // what needs them at run time goes too; else that is an error
	Roots      Roots
}

// NewPurge plans to remove specs on purpose. What a root needs is refused, and
// so is leaving dependents behind that could not be installed any more.
func NewPurge(s *Scan, purge Purge, now time.Time) (Plan, error) {
	p := newPlan(s, Policy{MaxFraction: 1}, now)
	named := purge.match(s)
	if len(named) == 0 {
		return p.refuse(fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", purge.Pin, ErrNothingFor))
	}
	needed := p.mark(purge.Roots, everything)
	for _, at := range named {
		p.why[at] = purged
	}
	p.spread(named, func(id) bool { return true })
	rest := newMarks(s, buildcache.Runtime)
	for at := range s.specs() {
		if !p.goes(at) {
			rest.keep("not purged", at)
		}
	}
	p.Policy.DropBuild = true // what only builds need it is no reason to keep it
	p.fill(rest)
	p.finish()
	if also := p.dependents(); len(also) > 0 && !purge.Dependents {
		return p.refuse(fmt.Errorf("%w: %d specs need it at run time, such as %s: they go too with --dependents", ErrRefused, len(also), strings.Join(also[:min(3, len(also))], ", ")))
	}
	for at := range p.going() {
		if needed.has(at) {
			rule, chain := needed.chain(at)
			return p.refuse(fmt.Errorf("%w: %s needs %s: %s", ErrRefused, rule, s.dag.text(at), strings.Join(chain, " → ")))
		}
	}
	if err := errors.Join(Prove(p, s), proveRoots(p, s, purge.Roots)); err != nil {
		return p.refuse(err)
	}
	return p, nil
}

func (u Purge) match(s *Scan) []id {
	if !u.Substring {
		return s.match(u.Pin)
	}
	var found []id
	for at := range s.specs() {
		if strings.Contains(s.dag.name(at)+"@"+s.dag.version(at)+"/"+string(s.dag.hash(at)), string(u.Pin)) {
			found = append(found, at)
		}
	}
	return found
}

// dependents returns the names of what goes for needing something that goes.
func (p *Plan) dependents() (names []string) {
	for g := range p.Going() {
		if g.Reason == dependent.String() {
			names = append(names, g.Name+"@"+g.Version)
		}
	}
	return names
}
