package views

import (
	"fmt"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
)

// selects reports whether a package belongs to the view by select and exclude.
func (v View) selects(lock *buildcache.Lockfile, s *buildcache.Spec) (bool, error) {
	selected := len(v.Select) == 0
	for _, spec := range v.Select {
		ok, err := matches(lock, s, spec)
		if err != nil {
			return false, err
		}
		selected = selected || ok
	}
	for _, spec := range v.Exclude {
		ok, err := matches(lock, s, spec)
		if err != nil {
			return false, err
		}
		selected = selected && !ok
	}
	return selected, nil
}

// hasDependency reports whether a spec asks for something of what a package depends on.
func hasDependency(spec string) bool { return strings.Contains(spec, "^") }

// legacyLockfile is the last version of lockfiles of Spack before 1.0, in whose specs % means the
// compiler.
const legacyLockfile = 5

// matches reports whether a package satisfies a spec, which may ask for something of its
// dependencies.
func matches(lock *buildcache.Lockfile, s *buildcache.Spec, spec string) (bool, error) {
	if !hasDependency(spec) {
		return satisfies(s, spec)
	}
	wanted, err := abstract.Parse(spec, lock.Version <= legacyLockfile)
	if err != nil {
		return false, fmt.Errorf("spec %q: %w", spec, err)
	}
	answer := wanted.Satisfied(lock, s)
	if answer == abstract.Maybe {
		return false, fmt.Errorf("it cannot be told here whether %s is what %q asks for: build with podman", s, spec)
	}
	return answer == abstract.Yes, nil
}
