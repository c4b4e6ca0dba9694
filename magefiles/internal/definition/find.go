package definition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/magefiles/internal/near"
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
			return "", fmt.Errorf("%q is in several containers: name one of %s", name, near.OneOf(candidates))
		}
	}
	slices.Sort(names)
	known := slices.Compact(names)
	if len(near.Names(name, known)) == 0 && len(near.Names(name, packages)) > 0 {
		slices.Sort(packages)
		known = slices.Compact(packages)
	}
	return "", fmt.Errorf("no container %q: %s", name, near.Hint(name, known))
}
