package buildcache

import (
	"context"
	"fmt"
	"reflect"
	"slices"
)

// FindSigned is Find for a spec of a lockfile, for which keys must be given. A signature says
// nothing about a lockfile: anyone who can write that could have another version's name on a signed
// binary, or leave a dependency out. So every node of the lockfile that the signed spec file has
// too must say the same in all that a build goes by: else it is ErrSignature.
//
// A spliced spec is signed as what it was built as. It must be that in all but its dependencies,
// which the lockfile alone decides.
func (c *Cache) FindSigned(ctx context.Context, s *Spec, l *Lockfile) (*Package, error) {
	if c.Keys == nil {
		return nil, fmt.Errorf("build cache: %s: %w: no public keys are given to compare with", s, ErrSignature)
	}
	return c.find(ctx, s, func(signed []*Spec) error { return l.compare(s, signed) })
}

// compare checks the nodes of a lockfile against those of the signed spec file of one of its specs.
func (l *Lockfile) compare(s *Spec, signed []*Spec) error {
	if s.BuildSpec != "" {
		if what := s.differsAlone(signed[0]); what != "" {
			return differs(s, what)
		}
	}
	for _, want := range signed {
		got := l.Specs[want.Hash]
		if got == nil {
			if want.Hash == s.BinaryHash() {
				return differs(s, "the lockfile does not hold it")
			}
			continue // a difference of what depends on it
		}
		if what := got.Differs(want); what != "" {
			return differs(got, what)
		}
	}
	return nil
}

func differs(s *Spec, what string) error {
	return fmt.Errorf("%w: the lockfile is not what was signed: %s: %s: concretize again, or ask who changed the lockfile", ErrSignature, s, what)
}

// Differs returns the first difference between what two sources say of one spec, as "FIELD: this,
// that", or "". It compares all that a build goes by: name, version, namespace, architecture,
// compiler, parameters, package hash, external, splice, and the dependencies with their types.
func (s *Spec) Differs(from *Spec) string {
	if what := s.differsAlone(from); what != "" {
		return what
	}
	if s.Hash != from.Hash {
		return fmt.Sprintf("hash: %s, signed %s", s.Hash, from.Hash)
	}
	if s.BuildSpec != from.BuildSpec {
		return fmt.Sprintf("build spec: %q, signed %q", s.BuildSpec, from.BuildSpec)
	}
	return dependenciesDiffer(s.Dependencies, from.Dependencies)
}

// differsAlone compares all but hashes and dependencies.
func (s *Spec) differsAlone(from *Spec) string {
	for _, field := range []struct{ name, got, want string }{
		{"name", s.Name, from.Name},
		{"version", s.Version, from.Version},
		{"namespace", s.Namespace, from.Namespace},
		{"platform", s.Platform, from.Platform},
		{"operating system", s.OS, from.OS},
		{"target", s.Target, from.Target},
		{"compiler", s.Compiler, from.Compiler},
		{"package hash", s.PackageHash, from.PackageHash},
		{"external", fmt.Sprint(s.External), fmt.Sprint(from.External)},
		{"external path", s.ExternalPath, from.ExternalPath},
	} {
		if field.got != field.want {
			return fmt.Sprintf("%s: %q, signed %q", field.name, field.got, field.want)
		}
	}
	if len(s.Parameters)+len(from.Parameters) > 0 && !reflect.DeepEqual(s.Parameters, from.Parameters) {
		for name := range s.Parameters {
			if !reflect.DeepEqual(s.Parameters[name], from.Parameters[name]) {
				return fmt.Sprintf("parameter %q: %v, signed %v", name, s.Parameters[name], from.Parameters[name])
			}
		}
		return "a parameter is left out"
	}
	return ""
}

// dependenciesDiffer compares two lists in any order. A dependency can be there twice with
// different types.
func dependenciesDiffer(got, want []Dependency) string {
	name := func(d Dependency) string { return fmt.Sprintf("%s/%.7s (%s)", d.Name, d.Hash, d.Types) }
	same := func(a Dependency) func(Dependency) bool {
		return func(b Dependency) bool { return a.Hash == b.Hash && a.Name == b.Name && a.Types == b.Types }
	}
	left := slices.Clone(want)
	for _, d := range got {
		i := slices.IndexFunc(left, same(d))
		if i < 0 {
			return fmt.Sprintf("dependency %s is not among those that were signed", name(d))
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		return fmt.Sprintf("dependency %s is left out", name(left[0]))
	}
	return ""
}
