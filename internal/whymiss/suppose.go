package whymiss

import (
	"fmt"
	"maps"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
)

// A Supposition is what would be built if a package were what is cached of it.
type Supposition struct {
	With  []string `json:"with"`  // the cached specs that take the place of the lockfile's, name@version/hash
	Built []string `json:"built"` // what would be built then; of what has changed the hash is that of the lockfile
	Saved []string `json:"saved"` // what is missing and would not be built then
}

// Suppose says what would be built if each spec of the lockfile with the name of wanted were the
// cached one that satisfies wanted and is nearest. A dependent counts as cached only if a cache holds
// it with exactly these dependencies: whether the concretizer would choose so is not known here.
func Suppose(lock *buildcache.Lockfile, cached *Index, wanted abstract.Spec) (Supposition, error) {
	if wanted.Name == "" || len(wanted.Dependencies) > 0 {
		return Supposition{}, fmt.Errorf("a supposition is about one package: NAME, NAME@VERSION, NAME/HASH, with variants")
	}
	e := explainer{lock: lock, cached: cached, findings: map[buildcache.Hash]*finding{}}
	before, _ := e.walk()
	p := supposer{explainer: &e, wanted: wanted, is: map[buildcache.Hash]*buildcache.Spec{}, done: map[buildcache.Hash]bool{}, above: map[buildcache.Hash]bool{}}
	result := Supposition{Built: []string{}, Saved: []string{}}
	for _, h := range slices.Sorted(maps.Keys(lock.Specs)) {
		if s := lock.Specs[h]; s.Name == wanted.Name && !s.External {
			now, err := p.identity(h)
			if err != nil {
				return Supposition{}, err
			}
			result.With = append(result.With, now.String())
		}
	}
	if len(result.With) == 0 {
		return Supposition{}, fmt.Errorf("the lockfile has no %s that a cache could hold", wanted.Name)
	}
	result.With = slices.Compact(result.With)
	if err := p.walk(&result); err != nil {
		return Supposition{}, err
	}
	for _, s := range before {
		if !slices.Contains(result.Built, s.String()) {
			result.Saved = append(result.Saved, s.String())
		}
	}
	return result, nil
}

// A supposer knows what each spec of the lockfile would be.
type supposer struct {
	*explainer
	wanted abstract.Spec
	is     map[buildcache.Hash]*buildcache.Spec // what is cached and takes its place; nil: it would be built
	done   map[buildcache.Hash]bool
	above  map[buildcache.Hash]bool // what reaches knows
}

// walk decides from the roots down what would be built.
func (p *supposer) walk(result *Supposition) error {
	seen := map[buildcache.Hash]bool{}
	var visit func(buildcache.Hash) error
	visit = func(h buildcache.Hash) error {
		s := p.lock.Specs[h]
		if s == nil || seen[h] || s.External {
			return nil
		}
		seen[h] = true
		now, err := p.identity(h)
		if err != nil {
			return err
		}
		if s.Name == p.wanted.Name {
			return nil // what it needs is cached with it
		}
		for _, d := range s.Dependencies {
			if d.Types&buildcache.Runtime != 0 || now == nil && d.Types&buildcache.Build != 0 {
				if err := visit(d.Hash); err != nil {
					return err
				}
			}
		}
		if now == nil {
			result.Built = append(result.Built, s.String())
		}
		return nil
	}
	for _, r := range p.lock.Roots {
		if err := visit(r.Hash); err != nil {
			return err
		}
	}
	return nil
}

// identity returns the cached spec that a spec of the lockfile would be, or nil.
func (p *supposer) identity(h buildcache.Hash) (*buildcache.Spec, error) {
	if p.done[h] {
		return p.is[h], nil
	}
	s := p.lock.Specs[h]
	now, err := p.decide(s)
	p.done[h], p.is[h] = true, now
	return now, err
}

func (p *supposer) decide(s *buildcache.Spec) (*buildcache.Spec, error) {
	if s.External {
		return s, nil
	}
	if s.Name == p.wanted.Name {
		return p.choose(s)
	}
	changed, same := *s, true
	changed.Dependencies = slices.Clone(s.Dependencies)
	for i, d := range s.Dependencies {
		if !p.reaches(d.Hash) {
			continue
		}
		on, err := p.identity(d.Hash)
		if on == nil || err != nil {
			return nil, err // it would be built on what is built
		}
		same = same && on.Hash == d.Hash
		changed.Dependencies[i].Hash = on.Hash
	}
	if same {
		if p.cached.Has(s.BinaryHash()) {
			return s, nil
		}
		return nil, nil
	}
	candidates, err := p.cached.Named(s.Name)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		added, lost := differEdges(changed.Dependencies, c.Dependencies)
		if len(added)+len(lost)+len(differAlone(&changed, c)) == 0 {
			return c, nil
		}
	}
	return nil, nil
}

// reaches reports whether a spec of the lockfile is what is supposed, or needs it in any way.
func (p *supposer) reaches(h buildcache.Hash) bool {
	if known, ok := p.above[h]; ok {
		return known
	}
	s := p.lock.Specs[h]
	found := s != nil && (s.Name == p.wanted.Name || slices.ContainsFunc(s.Dependencies, func(d buildcache.Dependency) bool { return p.reaches(d.Hash) }))
	p.above[h] = found
	return found
}

// choose returns the cached spec that takes the place of one of the lockfile.
func (p *supposer) choose(s *buildcache.Spec) (*buildcache.Spec, error) {
	candidates, err := p.cached.Named(s.Name)
	if err != nil {
		return nil, err
	}
	var best *buildcache.Spec
	var near score
	var have []string
	for _, c := range candidates {
		have = append(have, c.String())
		if p.wanted.Satisfied(p.lock, c) != abstract.Yes {
			continue
		}
		if now := scoreOf(p.compare(s, c)); best == nil || now.before(near) || now == near && newer(c, best) {
			best, near = c, now
		}
	}
	if best == nil && len(have) == 0 {
		return nil, fmt.Errorf("no spec named %s is cached", s.Name)
	}
	if best == nil {
		return nil, fmt.Errorf("no cached spec of %s is what was asked for: there are %s", s.Name, list(have))
	}
	return best, nil
}
