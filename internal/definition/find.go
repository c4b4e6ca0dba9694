package definition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// Find returns the definitions of a container, one for each platform it is
// defined for, or for those of the given platforms. It goes by the name of the
// definition or else by the package of its first spec, or else of any spec:
// py-brain-indexer finds brain-indexer.
func Find(defs []Definition, name string, only ...string) ([]Definition, error) {
	name, err := resolve(defs, name)
	if err != nil {
		return nil, err
	}
	var found []Definition
	var defined []string
	for _, d := range defs {
		if d.Name != name {
			continue
		}
		defined = append(defined, d.Platform)
		if len(only) == 0 || slices.Contains(only, d.Platform) {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("container %q is not defined for %s, only for %s", name, strings.Join(only, " or "), strings.Join(defined, " and "))
	}
	return found, nil
}

// Lookup finds a container as Find does, but also among the definitions that
// have mistakes, as far as these could be read. It returns the valid ones, and
// the mistakes in the others.
func Lookup(defs []Definition, broken Errors, name string, only ...string) ([]Definition, Errors, error) {
	found, err := Find(slices.Concat(defs, broken.definitions(defs)), name, only...)
	if err != nil {
		return nil, nil, err
	}
	var valid []Definition
	var mistakes Errors
	for _, d := range found {
		if own := broken.in(d); len(own) > 0 {
			mistakes = append(mistakes, own...)
		} else {
			valid = append(valid, d)
		}
	}
	mistakes.sort()
	return valid, mistakes, nil
}

// definitions returns those that have mistakes and are not among valid, each
// once, with its specs where any of its mistakes came with them.
func (e Errors) definitions(valid []Definition) (list []Definition) {
	for _, err := range e {
		if err.of == nil {
			continue
		}
		same := func(d Definition) bool { return d.Name == err.of.Name && d.Platform == err.of.Platform }
		switch i := slices.IndexFunc(list, same); {
		case slices.ContainsFunc(valid, same):
		case i < 0:
			list = append(list, *err.of)
		case len(list[i].Specs) == 0:
			list[i] = *err.of
		}
	}
	return list
}

// resolve returns the name of the one definition that name stands for.
func resolve(defs []Definition, name string) (string, error) {
	var names, packages []string
	for _, d := range defs {
		names = append(names, d.Name)
		for _, spec := range d.Specs {
			if p := SpecName(spec); p != "" {
				packages = append(packages, p)
			}
		}
	}
	if slices.Contains(names, name) {
		return name, nil
	}
	isNamed := func(spec string) bool { return name != "" && SpecName(spec) == name }
	for _, match := range []func(Definition) bool{
		func(d Definition) bool { return isNamed(d.firstSpec()) },
		func(d Definition) bool { return slices.ContainsFunc(d.Specs, isNamed) },
	} {
		var candidates []string
		for _, d := range defs {
			if match(d) && !slices.Contains(candidates, d.Name) {
				candidates = append(candidates, d.Name)
			}
		}
		switch len(candidates) {
		case 0:
		case 1:
			return candidates[0], nil
		default:
			return "", fmt.Errorf("%q is in several containers: name one of %s", name, suggest.OneOf(candidates))
		}
	}
	slices.Sort(names)
	known := slices.Compact(names)
	if len(suggest.Names(name, known)) == 0 && len(suggest.Names(name, packages)) > 0 {
		slices.Sort(packages)
		known = slices.Compact(packages)
	}
	return "", fmt.Errorf("no container %q: %s", name, suggest.Hint(name, known))
}
