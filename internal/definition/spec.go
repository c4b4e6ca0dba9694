package definition

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
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

// FirstRoot returns which of a lockfile's roots the definition's first spec
// has become: the root that gives the container its version.
//
// Spack neither keeps the order of the specs in a lockfile nor the way that
// they were written, so a root with the same text is looked for first, then
// one that asks the same in another order, then the only one of that package.
func (d Definition) FirstRoot(roots []string) (int, error) {
	first := d.firstSpec()
	for _, same := range []func(a, b string) bool{sameText, sameParts, samePackage} {
		var matches []int
		for i, root := range roots {
			if same(first, root) {
				matches = append(matches, i)
			}
		}
		if len(matches) == 1 {
			return matches[0], nil
		}
	}
	if first != "" && SpecName(first) == "" && len(roots) == 1 {
		return 0, nil // anonymous, and nothing else it could be
	}
	return 0, fmt.Errorf("first spec %q of %s matches not exactly one root of the lockfile: %q", first, d.Name, roots)
}

// Roots returns a lockfile's roots, by their places in it, in the order in
// which the definition names them: Spack does not keep that order, and it
// decides which of two packages a view shows. Roots that come from a matrix, a
// list or an included environment stand behind the others, in alphabetical
// order.
//
// A spec of the definition that no root stands for is an error: the lockfile
// was made for something else.
func (d Definition) Roots(roots []string) ([]int, error) {
	first, err := d.FirstRoot(roots)
	if err != nil {
		return nil, err
	}
	order := []int{first}
	if err := d.agree(d.firstSpec(), roots[first]); err != nil {
		return nil, err
	}
	for i, spec := range d.Specs {
		if strings.HasPrefix(spec, "$") || SpecName(spec) == "" || i == 0 && spec == d.firstSpec() {
			continue // what it stands for is not known here, or it is the first
		}
		at := find(spec, roots, order)
		if at < 0 {
			return nil, fmt.Errorf("spec %q of %s is not among its roots: concretize again", spec, d.Name)
		}
		if err := d.agree(spec, roots[at]); err != nil {
			return nil, err
		}
		order = append(order, at)
	}
	var rest []int
	for i := range roots {
		if !slices.Contains(order, i) {
			rest = append(rest, i)
		}
	}
	slices.SortFunc(rest, func(a, b int) int { return strings.Compare(roots[a], roots[b]) })
	return append(order, rest...), nil
}

// agree refuses a root that was made for another version than a spec asks for.
func (d Definition) agree(spec, root string) error {
	if SpecName(spec) != "" && version(spec) != "" && version(root) != version(spec) {
		return fmt.Errorf("it was made for %q, and %s asks for %q: concretize again", root, d.Name, spec)
	}
	return nil
}

// find returns the root that a spec has become and that is not taken, or -1.
func find(spec string, roots []string, taken []int) int {
	for _, same := range []func(a, b string) bool{sameText, sameParts, samePackage} {
		for i, root := range roots {
			if !slices.Contains(taken, i) && same(spec, root) {
				return i
			}
		}
	}
	return -1
}

// version is what a spec asks for behind its @, without the = of an exact one.
func version(spec string) string {
	_, at, _ := strings.Cut(spec, "@")
	end := strings.IndexAny(at, " +~%^/")
	if end >= 0 {
		at = at[:end]
	}
	return strings.TrimPrefix(at, "=")
}

func sameText(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

func samePackage(a, b string) bool {
	return SpecName(a) != "" && SpecName(a) == SpecName(b)
}

// specPart is a piece of a spec that stands for itself: a sigil and what
// belongs to it, or a word, with quoted text kept whole.
var specPart = regexp.MustCompile(`(?:[@+~^%/]+|^-|\s-)?\s*(?:"[^"]*"|'[^']*'|[^\s@+~^%/"'])+`)

func sameParts(a, b string) bool {
	parts := func(spec string) []string {
		found := specPart.FindAllString(spec, -1)
		for i, part := range found {
			part = strings.Join(strings.Fields(part), "")
			if variant, ok := strings.CutPrefix(part, "-"); ok {
				part = "~" + variant // which is how Spack writes it
			}
			found[i] = part
		}
		slices.Sort(found)
		return found
	}
	return slices.Equal(parts(a), parts(b))
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
