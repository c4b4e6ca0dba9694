package definition

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// namesTarget finds a requirement that has a say in the target.
var namesTarget = regexp.MustCompile(`(?:^|[\s"'\]+~])(?:target|arch|architecture)=`)

// withTarget returns the user's settings with the platform's target in each list of requirements of
// theirs: in Spack a package's own requirements replace those of all packages, and so would its
// target. Where the user names a target, or replaces requirements, packages or a package by
// `key::`, nothing is added.
func (d Definition) withTarget(template *yaml.Node) (user *yaml.Node, notes []string) {
	target := targetOf(template)
	packages := get(d.Spack, "packages")
	if target == "" || packages == nil || replaces(d.Spack, "packages") {
		return d.Spack, nil
	}
	user = clone(d.Spack)
	packages = get(user, "packages")
	for name, settings := range entries(packages) {
		require := get(settings, "require")
		if require == nil || replaces(packages, name.Value) || replaces(settings, "require") || mentionsTarget(require) {
			continue
		}
		if require.Kind == yaml.ScalarNode {
			*require = yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: require.Value, Style: require.Style}}, Line: require.Line}
		}
		if require.Kind != yaml.SequenceNode {
			continue // no form that Spack knows: it says so itself
		}
		require.Content = append(require.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: target})
		notes = append(notes, fmt.Sprintf("%s:%d: %s is added to the requirements of %s, which replace those of all packages", d.Path, name.Line, target, plainKey(name.Value)))
	}
	return user, notes
}

// targetOf is what the template requires of all packages' target.
func targetOf(template *yaml.Node) string {
	all := get(get(get(template, "packages"), "all"), "require")
	if all == nil {
		return ""
	}
	for _, item := range all.Content {
		if strings.HasPrefix(item.Value, "target=") {
			return item.Value
		}
	}
	return ""
}

// replaces reports whether a mapping has a key as `key::`.
func replaces(mapping *yaml.Node, name string) bool {
	for key := range entries(mapping) {
		if plainKey(key.Value) == plainKey(name) {
			return strings.HasSuffix(key.Value, ":")
		}
	}
	return false
}

func mentionsTarget(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return namesTarget.MatchString(n.Value)
	}
	for _, child := range n.Content {
		if mentionsTarget(child) {
			return true
		}
	}
	return false
}

// clone copies a tree without aliases.
func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = nil
	for _, child := range n.Content {
		c.Content = append(c.Content, clone(child))
	}
	return &c
}
