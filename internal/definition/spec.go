package definition

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// packageName is a package's name, perhaps with its namespace, at the start of
// a spec. What follows tells it from the key of a variant.
var packageName = regexp.MustCompile(`^(?:[A-Za-z0-9_][A-Za-z0-9_-]*\.)*([A-Za-z0-9_][A-Za-z0-9_-]*)`)

// SpecName returns the name of the package that a spec selects, without its
// namespace: hdf5 for builtin.hdf5@1.14:+mpi. It is empty for anonymous specs
// (+mpi, @1.2, target=x86_64_v3, /hash).
func SpecName(spec string) string {
	spec = strings.TrimSpace(spec)
	found := packageName.FindStringSubmatch(spec)
	if found == nil {
		return ""
	}
	rest := spec[len(found[0]):]
	if strings.HasPrefix(rest, "=") || strings.HasPrefix(rest, ":=") { // the key of a variant
		return ""
	}
	return found[1]
}

// firstSpec is the first spec as written or, where a matrix or a reference to
// a list stands first, the first that these begin with.
func (d Definition) firstSpec() string {
	if d.Spack == nil {
		if len(d.Specs) > 0 {
			return d.Specs[0]
		}
		return ""
	}
	return leading(get(d.Spack, "specs"), get(d.Spack, "definitions"), 0)
}

func leading(specs, definitions *yaml.Node, depth int) string {
	if specs == nil || len(specs.Content) == 0 || depth > 100 { // lists may refer to each other
		return ""
	}
	first := specs.Content[0]
	switch {
	case isNull(first):
		return leading(&yaml.Node{Kind: yaml.SequenceNode, Content: specs.Content[1:]}, definitions, depth+1)
	case first.Kind == yaml.MappingNode && get(first, "specs") != nil:
		return leading(get(first, "specs"), definitions, depth+1)
	case first.Kind == yaml.MappingNode:
		matrix := get(first, "matrix")
		if matrix == nil || len(matrix.Content) == 0 {
			return ""
		}
		return leading(matrix.Content[0], definitions, depth+1)
	case first.Kind != yaml.ScalarNode:
		return ""
	case strings.HasPrefix(first.Value, "$") && definitions != nil:
		for _, entry := range definitions.Content {
			if list := get(entry, strings.TrimLeft(first.Value, "$^%")); list != nil {
				return leading(list, definitions, depth+1)
			}
		}
	}
	return first.Value
}
