// Package history is what has happened to a build cache over time: which specs environments asked
// for, and when, with what each spec takes to store and to build. Policies are tried on it.
//
// A history comes from the lockfiles that a repository has had, or is generated from those that it
// has now. It says what was wanted, never what any policy would have done.
package history

import (
	"fmt"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A History is the specs that were ever wanted, and what was wanted when.
type History struct {
	Specs  []Spec  // dependencies before dependents
	Events []Event // by ascending time
}

// A Spec is one package as it was built.
type Spec struct {
	Hash      buildcache.Hash
	Name      string
	Version   string
	Size      int64   // bytes of its objects in the cache
	Seconds   float64 // to build it, what it needs aside
	Estimated bool    // Seconds is a guess
	Needs     []Need
}

// A Need is an edge to a spec with a smaller number.
type Need struct {
	Spec  int
	Types buildcache.DepTypes
}

// An Event is that an environment asks for other roots than before, and is built.
type Event struct {
	At          time.Time
	Environment string
	Roots       []int // numbers of specs; none: the environment is gone, and nothing is built
}

// Check returns an error where a history contradicts itself.
func (h *History) Check() error {
	for i, s := range h.Specs {
		for _, n := range s.Needs {
			if n.Spec < 0 || n.Spec >= i {
				return fmt.Errorf("history: spec %d, %s, needs spec %d, which does not stand before it", i, s.Name, n.Spec)
			}
		}
		if s.Size < 0 || s.Seconds < 0 {
			return fmt.Errorf("history: spec %d, %s, has %d bytes and takes %g seconds", i, s.Name, s.Size, s.Seconds)
		}
	}
	for i, e := range h.Events {
		for _, r := range e.Roots {
			if r < 0 || r >= len(h.Specs) {
				return fmt.Errorf("history: event %d asks for spec %d of %d", i, r, len(h.Specs))
			}
		}
		if i > 0 && e.At.Before(h.Events[i-1].At) {
			return fmt.Errorf("history: event %d is before the one before it", i)
		}
	}
	return nil
}

// A Builder numbers the specs of lockfiles.
type Builder struct {
	History
	numbers map[buildcache.Hash]int

	Cost Cost // asked once for each spec
}

// A Cost returns the bytes that a spec takes in a cache, and the seconds that it takes to build.
type Cost func(*buildcache.Spec) (size int64, seconds float64, estimated bool)

// Lock adds the specs of a lockfile that a cache can hold, and returns its roots. It is not an event
// yet.
func (b *Builder) Lock(l *buildcache.Lockfile) []int {
	var hashes []buildcache.Hash
	for _, r := range l.Roots {
		hashes = append(hashes, r.Hash)
	}
	for _, s := range l.Closure(hashes, buildcache.Build|buildcache.Link|buildcache.Run|buildcache.Test) {
		b.add(s)
	}
	var roots []int
	for _, h := range hashes {
		if i, ok := b.numbers[h]; ok {
			roots = append(roots, i)
		}
	}
	return roots
}

func (b *Builder) add(s *buildcache.Spec) {
	if b.numbers == nil {
		b.numbers = map[buildcache.Hash]int{}
	}
	if _, known := b.numbers[s.Hash]; known || s.External {
		return
	}
	spec := Spec{Hash: s.Hash, Name: s.Name, Version: s.Version}
	spec.Size, spec.Seconds, spec.Estimated = b.Cost(s)
	for _, d := range s.Dependencies {
		if to, ok := b.numbers[d.Hash]; ok {
			spec.Needs = append(spec.Needs, Need{to, d.Types})
		}
	}
	b.numbers[s.Hash] = len(b.Specs)
	b.Specs = append(b.Specs, spec)
}
