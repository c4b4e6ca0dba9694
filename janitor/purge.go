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
	going := map[buildcache.Hash]Going{}
	var queue []buildcache.Hash
	for _, spec := range purge.match(s) {
		going[spec.Hash] = Going{Reason: Purged}
		queue = append(queue, spec.Hash)
	}
	if len(going) == 0 {
		return p.refuse(fmt.Errorf("%q: %w: give a hash, the beginning of one, a name, or name@version", purge.Pin, ErrNothingFor))
	}
	named := len(going)
	m := newMarks(s, everything)
	p.Notes = append(p.Notes, markRoots(m, purge.Roots)...)
	spread(s, going, queue, func(buildcache.Hash) bool { return true })
	rest := newMarks(s, buildcache.Runtime)
	for _, hash := range s.hashes() {
		if _, goes := going[hash]; !goes {
			rest.keep("not purged", hash)
		}
	}
	p.Policy.DropBuild = true // what only builds need it is no reason to keep it
	p.fill(s, rest, going, now)
	p.finish(s)
	if len(going) > named && !purge.Dependents {
		return p.refuse(fmt.Errorf("%w: %d specs need it at run time, such as %s: they go too with --dependents", ErrRefused, len(going)-named, p.dependents()))
	}
	for hash := range going {
		if m.has(hash) {
			rule, chain := m.chain(hash)
			return p.refuse(fmt.Errorf("%w: %s needs %s: %s", ErrRefused, rule, s.Specs[hash], strings.Join(chain, " → ")))
		}
	}
	if err := errors.Join(Prove(p, s), proveRoots(p, s, purge.Roots)); err != nil {
		return p.refuse(err)
	}
	return p, nil
}

func (u Purge) match(s *Scan) []*Spec {
	if !u.Substring {
		return s.match(u.Pin)
	}
	var found []*Spec
	for _, hash := range s.hashes() {
		spec := s.Specs[hash]
		if strings.Contains(spec.Name+"@"+spec.Version+"/"+string(hash), string(u.Pin)) {
			found = append(found, spec)
		}
	}
	return found
}

func (p Plan) dependents() string {
	var names []string
	for _, g := range p.Going {
		if g.Reason == Dependent && len(names) < 3 {
			names = append(names, g.Name+"@"+g.Version)
		}
	}
	return strings.Join(names, ", ")
}
