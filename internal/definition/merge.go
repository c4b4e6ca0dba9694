package definition

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

//go:embed template.yaml
var templateText string

var templates = template.Must(template.New("template.yaml").Parse(templateText))

// Template returns what every environment begins with, for a target such as
// x86_64_v3. Without one, Spack builds for the machine it runs on.
func Template(target string) []byte {
	var b bytes.Buffer
	if err := templates.Execute(&b, target); err != nil {
		panic(err) // the template is ours, and a buffer takes everything
	}
	return b.Bytes()
}

// Environment returns the spack.yaml to build: the template with the user's
// settings over it. Mappings are merged; what else the user writes replaces
// what stands there, lists as well. `key::` replaces a mapping too, `key+:`
// and `key-:` put a list before or behind the template's, all as in Spack, for
// which these keys stay as they are written: it resolves them against its own
// configuration in turn.
//
// Keys stand in the template's order, then in the user's, so equal input
// gives equal output.
func (d Definition) Environment(template []byte) ([]byte, error) {
	text, _, err := d.Merge(template)
	return text, err
}

// Merge returns what Environment does, and notes on what was added to the user's settings.
func (d Definition) Merge(template []byte) (text []byte, notes []string, err error) {
	if d.Kind != Environment || d.Spack == nil {
		return nil, nil, fmt.Errorf("environment of %s: %s is no Spack environment", d.Name, d.Path)
	}
	p := &problems{of: &d, path: "template"}
	base := document(p, template)
	if len(p.found) > 0 {
		return nil, nil, fmt.Errorf("environment of %s: %w", d.Name, p.found)
	}
	spack := get(base, "spack")
	if spack == nil {
		return nil, nil, fmt.Errorf("environment of %s: the template has no key spack", d.Name)
	}
	user, notes := d.withTarget(spack)
	merged := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: "spack"}, merge(spack, user),
	}}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(merged), encoder.Close()); err != nil {
		return nil, nil, fmt.Errorf("environment of %s: %w", d.Name, err)
	}
	return plainMarkers(b.Bytes()), notes, nil
}

// marked is a key with Spack's marker to override, as the encoder quotes it.
var marked = regexp.MustCompile(`(?m)^( *(?:- )?)'([A-Za-z0-9_.-]+:)':`)

// plainMarkers writes `packages::` as people do, where that says the same.
func plainMarkers(text []byte) []byte {
	plain := marked.ReplaceAll(text, []byte("$1$2:"))
	var before, after any
	if yaml.Unmarshal(text, &before) != nil || yaml.Unmarshal(plain, &after) != nil || !reflect.DeepEqual(before, after) {
		return text
	}
	return plain
}

// merge returns base with over put over it, and changes neither. What only
// over has stays as written, with its suffix: there Spack resolves it against
// its own scopes.
func merge(base, over *yaml.Node) *yaml.Node {
	if base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		return over
	}
	merged := *base
	merged.Content = append([]*yaml.Node(nil), base.Content...)
	for key, value := range entries(over) {
		name, suffix := splitKey(key.Value)
		i := index(&merged, key.Value)
		if i < 0 {
			i = index(&merged, name)
		} else {
			suffix = ""
		}
		switch {
		case i < 0:
			merged.Content = append(merged.Content, key, value)
		case suffix == ":":
			merged.Content[i-1], merged.Content[i] = key, value
		case suffix == "+":
			merged.Content[i-1], merged.Content[i] = key, concat(value, merged.Content[i], value)
		case suffix == "-":
			merged.Content[i-1], merged.Content[i] = key, concat(merged.Content[i], value, value)
		default:
			merged.Content[i] = merge(merged.Content[i], value)
		}
	}
	return &merged
}

// splitKey takes Spack's suffix off a key.
func splitKey(key string) (name, suffix string) {
	for _, suffix := range []string{":", "+", "-"} {
		if name, ok := strings.CutSuffix(key, suffix); ok && name != "" {
			return name, suffix
		}
	}
	return key, ""
}

// index returns where the value of a key stands in a mapping, or -1.
func index(n *yaml.Node, key string) int {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i + 1
		}
	}
	return -1
}

// concat joins two lists; what is no list is replaced.
func concat(first, second, replacement *yaml.Node) *yaml.Node {
	if first.Kind != yaml.SequenceNode || second.Kind != yaml.SequenceNode {
		return replacement
	}
	joined := *first
	joined.Content = append(append([]*yaml.Node(nil), first.Content...), second.Content...)
	return &joined
}
