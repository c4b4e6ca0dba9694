package definition

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/abstract"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
)

// sections are the sections of a Spack environment, and what each may be.
var sections = map[string]yaml.Kind{
	"bootstrap":        yaml.MappingNode,
	"cdash":            yaml.MappingNode,
	"ci":               yaml.MappingNode,
	"compilers":        yaml.SequenceNode,
	"concretizer":      yaml.MappingNode,
	"config":           yaml.MappingNode,
	"container":        yaml.MappingNode, // how `spack containerize` would do it: not used here
	"definitions":      yaml.SequenceNode,
	"develop":          yaml.MappingNode,
	"env_vars":         yaml.MappingNode,
	"gitlab-ci":        yaml.MappingNode,
	"include":          yaml.SequenceNode,
	"include_concrete": yaml.SequenceNode,
	"mirrors":          yaml.MappingNode,
	"modules":          yaml.MappingNode,
	"packages":         yaml.MappingNode,
	"repos":            0, // a list, and a mapping since Spack 1.0
	"specs":            yaml.SequenceNode,
	"toolchains":       yaml.MappingNode,
	"upstreams":        yaml.MappingNode,
	"view":             0, // a truth value, a path or a mapping
}

var (
	topKeys         = []string{"spack", "spacktainer"}
	sectionKeys     = slices.Sorted(maps.Keys(sections))
	spacktainerKeys = []string{"env", "files", "labels", "strip", "test"}
)

// readEnvironment reads a spack.yaml into d and reports what is wrong with it.
func (l *loader) readEnvironment(p *problems, data []byte, d *Definition) {
	root := document(p, data)
	if root == nil {
		return
	}
	for key, value := range entries(root) {
		switch key.Value {
		case "spack":
			readSpack(p, key, value, d)
			l.readPaths(p, d)
		case "spacktainer":
			l.readSpacktainer(p, value, d)
		default:
			unknownTopKey(p, key)
		}
	}
	if get(root, "spack") == nil {
		p.at(root, "no specs: name them below spack")
	}
}

func unknownTopKey(p *problems, key *yaml.Node) {
	switch name := sectionName(key.Value); {
	case slices.Contains(sectionKeys, name):
		p.at(key, "%q belongs below spack", name)
	case slices.Contains(spacktainerKeys, name):
		p.at(key, "%q belongs below spacktainer", name)
	default:
		p.at(key, "unknown key %q: %s", key.Value, suggest.Hint(name, topKeys))
	}
}

func readSpack(p *problems, key, spack *yaml.Node, d *Definition) {
	if spack.Kind != yaml.MappingNode {
		p.at(spack, "spack is %s: it is a mapping with specs", describe(spack))
		return
	}
	d.Spack = spack
	for key, value := range entries(spack) {
		name := sectionName(key.Value)
		kind, known := sections[name]
		switch {
		case !known && slices.Contains(spacktainerKeys, name):
			p.at(key, "%q belongs below spacktainer", name)
		case !known:
			p.at(key, "unknown section %q below spack: %s", name, suggest.Hint(name, sectionKeys))
		case isNull(value):
			p.at(value, "%s holds nothing", name)
		case kind != 0 && kind != value.Kind:
			p.at(value, "%s is %s: it is %s", name, describe(value), describe(&yaml.Node{Kind: kind}))
		case name == "specs":
			d.Specs = readSpecs(p, value)
		}
	}
	if get(spack, "specs") == nil {
		p.at(key, "no specs: name at least one package below spack: specs")
	}
}

// sectionName drops what Spack allows behind the name of a section: packages::
// replaces what was there, packages+: and packages-: go before and behind it.
func sectionName(key string) string {
	return strings.TrimRight(key, ":+-")
}

// groupKeys are the keys of a group of specs, and of a matrix, which can be one.
var groupKeys = []string{"exclude", "explicit", "group", "matrix", "needs", "override", "specs"}

// readSpecs checks a list of specs, and returns those that are written out in it or in its groups.
func readSpecs(p *problems, list *yaml.Node) (specs []string) {
	if !slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return !isNull(n) }) {
		p.at(list, "specs is empty: name at least one package")
	}
	for _, spec := range list.Content {
		switch {
		case isNull(spec): // Spack skips it
		case isText(spec):
			checkSpec(p, spec)
			specs = append(specs, spec.Value)
		case spec.Kind == yaml.MappingNode:
			specs = append(specs, readGroup(p, spec)...)
		case spec.Kind == yaml.ScalarNode && spec.Tag != "!!str":
			p.at(spec, "a spec is %s: put it in quotes if it is meant", describe(spec))
		default:
			p.at(spec, "a spec is %s: it is a string, such as hdf5+mpi", describe(spec))
		}
	}
	return specs
}

// readGroup checks a matrix or a group.
func readGroup(p *problems, group *yaml.Node) []string {
	specs, matrix := get(group, "specs"), get(group, "matrix")
	if specs == nil && matrix == nil {
		p.at(group, "a spec is a mapping: only one with the key matrix or specs can be; quote a spec that holds ': '")
		return nil
	}
	for key, value := range entries(group) {
		switch {
		case !slices.Contains(groupKeys, key.Value):
			p.at(key, "unknown key %q in a group of specs: %s", key.Value, suggest.Hint(key.Value, groupKeys))
		case (key.Value == "matrix" || key.Value == "exclude" || key.Value == "specs") && value.Kind != yaml.SequenceNode:
			p.at(value, "%s is %s: it is a list", key.Value, describe(value))
			return nil
		}
	}
	if matrix != nil {
		for _, row := range matrix.Content {
			if row.Kind != yaml.SequenceNode {
				p.at(row, "a row of a matrix is %s: it is a list", describe(row))
			}
		}
	}
	if specs == nil {
		return nil
	}
	return readSpecs(p, specs)
}

// checkSpec reports a text that no version of Spack reads as one spec.
func checkSpec(p *problems, spec *yaml.Node) {
	if strings.HasPrefix(strings.TrimSpace(spec.Value), "$") {
		return
	}
	_, err := abstract.Parse(spec.Value, false)
	if _, legacy := abstract.Parse(spec.Value, true); err != nil && legacy != nil {
		p.at(spec, "no spec: %v", err)
	}
}

func (l *loader) readSpacktainer(p *problems, spacktainer *yaml.Node, d *Definition) {
	if spacktainer.Kind != yaml.MappingNode {
		p.at(spacktainer, "spacktainer is %s: it is a mapping with %s", describe(spacktainer), strings.Join(spacktainerKeys, ", "))
		return
	}
	for key, value := range entries(spacktainer) {
		switch key.Value {
		case "env":
			d.Env = readMap(p, key.Value, value)
			checkVariables(p, value)
		case "files":
			d.Files = l.readFiles(p, value)
		case "labels":
			d.Labels = readMap(p, key.Value, value)
			checkLabels(p, value)
		case "strip":
			if value.Tag != "!!bool" || value.Decode(&d.Strip) != nil {
				p.at(value, "strip is %s: it is true or false", describe(value))
			}
		case "test":
			for _, command := range readList(p, key.Value, value, "a command") {
				d.Test = append(d.Test, command.Value)
			}
		default:
			p.at(key, "unknown key %q below spacktainer: %s", key.Value, suggest.Hint(key.Value, spacktainerKeys))
		}
	}
}

// readList returns the strings of a list.
func readList(p *problems, name string, list *yaml.Node, what string) (texts []*yaml.Node) {
	if list.Kind != yaml.SequenceNode {
		p.at(list, "%s is %s: it is a list", name, describe(list))
		return nil
	}
	for _, item := range list.Content {
		if !isText(item) {
			p.at(item, "%s below %s is %s: it is a string", what, name, describe(item))
			continue
		}
		texts = append(texts, item)
	}
	return texts
}

// readMap returns a mapping of scalars as it is written: 1.10 stays 1.10.
func readMap(p *problems, name string, mapping *yaml.Node) map[string]string {
	if mapping.Kind != yaml.MappingNode {
		p.at(mapping, "%s is %s: it is a mapping", name, describe(mapping))
		return nil
	}
	texts := map[string]string{}
	for key, value := range entries(mapping) {
		if value.Kind != yaml.ScalarNode || isNull(value) {
			p.at(value, "%s below %s is %s: it is a string", key.Value, name, describe(value))
			continue
		}
		texts[key.Value] = value.Value
	}
	return texts
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// imageVariables are what the image sets itself, to find its view.
var imageVariables = []string{"PATH", "MANPATH", "ACLOCAL_PATH", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "SPACK_ENV", "SPACK_ENV_VIEW"}

func checkVariables(p *problems, env *yaml.Node) {
	for key, value := range entries(env) {
		switch {
		case !variable.MatchString(key.Value):
			p.at(key, "%q is no name for an environment variable", key.Value)
		case slices.Contains(imageVariables, key.Value):
			p.at(key, "%s is set by the image, from its view and its base image: leave it out", key.Value)
		case value.Kind == yaml.ScalarNode && strings.Contains(value.Value, "$"):
			p.at(value, "%s is %q: values are literal, no variable in them is looked up", key.Value, value.Value)
		}
	}
}
