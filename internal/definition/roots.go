package definition

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
)

// legacyLockfile is the last version of lockfiles of Spack before 1.0, in whose specs % means the
// compiler.
const legacyLockfile = 5

// Roots returns a lockfile's roots, by their places in it, in the order in which the definition
// asks for them: Spack keeps neither that order nor the way that they were written, and the first
// of them gives the container its version. Roots that cannot be told to be asked for, such as those
// of an included environment, stand behind the others, by their texts.
//
// A spec is that root which asks for the same, or else one whose node is what it asks for. Without
// such a root, and where a root is asked for by nothing, the lockfile was made for something else,
// which is an error.
func (d Definition) Roots(lock *buildcache.Lockfile) ([]int, error) {
	wishes, complete := d.wishes(lock.Version <= legacyLockfile)
	m := newMatching(wishes, lock)
	m.take(func(w wish, root int) abstract.Answer {
		if m.parsed[root] && abstract.Same(w.spec, m.roots[root]) {
			return abstract.Yes
		}
		return abstract.No
	}, abstract.Yes)
	for _, least := range []abstract.Answer{abstract.Yes, abstract.Maybe} {
		m.take(func(w wish, root int) abstract.Answer {
			answer := w.spec.Satisfied(lock, lock.Specs[lock.Roots[root].Hash])
			if !w.sure {
				answer = min(answer, abstract.Maybe)
			}
			return answer
		}, least)
	}
	order, err := m.order(d)
	if err != nil {
		return nil, err
	}
	var rest []int
	for i := range lock.Roots {
		if !slices.Contains(order, i) {
			rest = append(rest, i)
		}
	}
	if complete && len(rest) > 0 {
		return nil, fmt.Errorf("its root %q is asked for by no spec of %s: concretize again", lock.Roots[rest[0]].Spec, d.Name)
	}
	slices.SortFunc(rest, func(a, b int) int { return strings.Compare(lock.Roots[a].Spec, lock.Roots[b].Spec) })
	return append(order, rest...), nil
}

// A matching gives each wish a root.
type matching struct {
	wishes []wish
	lock   *buildcache.Lockfile
	roots  []abstract.Spec
	parsed []bool // a root whose text is no spec known here is only matched by its node
	of     []int  // by wish: its root, or -1
	taken  []bool
}

func newMatching(wishes []wish, lock *buildcache.Lockfile) *matching {
	m := &matching{wishes: wishes, lock: lock, taken: make([]bool, len(lock.Roots))}
	for range wishes {
		m.of = append(m.of, -1)
	}
	for _, root := range lock.Roots {
		spec, err := abstract.Parse(root.Spec, lock.Version <= legacyLockfile)
		m.roots, m.parsed = append(m.roots, spec), append(m.parsed, err == nil)
	}
	return m
}

// take gives wishes that have no root yet one that no other has, where fits answers at least least.
// A wish that another one repeats shares its root.
func (m *matching) take(fits func(wish, int) abstract.Answer, least abstract.Answer) {
	for i, w := range m.wishes {
		if m.of[i] >= 0 {
			continue
		}
		for j := range i {
			if m.of[j] >= 0 && abstract.Same(m.wishes[j].spec, w.spec) {
				m.of[i] = m.of[j]
			}
		}
		for root := range m.roots {
			if m.of[i] < 0 && !m.taken[root] && fits(w, root) >= least {
				m.of[i], m.taken[root] = root, true
			}
		}
	}
}

// order returns the roots of the wishes, each once.
func (m *matching) order(d Definition) ([]int, error) {
	var order []int
	for i, w := range m.wishes {
		root := m.of[i]
		if root < 0 {
			return nil, m.missing(d, w)
		}
		if !slices.Contains(order, root) {
			order = append(order, root)
		}
	}
	return order, nil
}

func (m *matching) missing(d Definition, w wish) error {
	for i, root := range m.lock.Roots {
		if !m.taken[i] && w.spec.Name != "" && m.lock.Specs[root.Hash].Name == w.spec.Name {
			return fmt.Errorf("it was made for %q, which became %s, and %s asks for %q: concretize again", root.Spec, m.lock.Specs[root.Hash], d.Name, w.text)
		}
	}
	return fmt.Errorf("spec %q of %s is not among its roots: concretize again", w.text, d.Name)
}

// CheckLock says what is wrong with the lockfile beside the definition: that it cannot be read, or
// what the build says of it by take. It is no mistake to have none.
func (d Definition) CheckLock(take func(text []byte) error) Errors {
	p := &problems{of: &d, path: d.LockPath}
	if d.LockPath == "" || d.Kind != Environment {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(d.Root, d.LockPath))
	if err != nil {
		p.file("%s", reason(err))
	} else if err = take(text); err != nil {
		p.file("%v", err)
	}
	return p.found
}
