package definition

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// document reads a file of exactly one YAML document with a mapping in it,
// every alias expanded and no key twice. It returns nil where it reported why not.
func document(p *problems, data []byte) *yaml.Node {
	if mistake := yamlstrict.Encoding(p.path, data); mistake != nil {
		p.mistake(mistake)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		p.file("is empty: a definition names its specs below spack")
		return nil
	} else if err != nil {
		p.mistake(yamlstrict.Syntax(p.path, data, err))
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		p.at(&second, "holds a second YAML document: one file, one definition")
		return nil
	} else if !errors.Is(err, io.EOF) {
		p.mistake(yamlstrict.Syntax(p.path, data, err))
		return nil
	}
	if found := len(p.found); !uniqueKeys(p, &first) || len(p.found) > found {
		return nil
	}
	budget := maxNodes
	root := expand(p, first.Content[0], &budget)
	switch {
	case root == nil:
		return nil
	case isNull(root):
		p.file("is empty: a definition names its specs below spack")
		return nil
	case root.Kind != yaml.MappingNode:
		p.at(root, "holds %s: a definition is a mapping with spack and spacktainer", describe(root))
		return nil
	}
	return root
}

// uniqueKeys reports keys that are no text or stand twice in a mapping;
// Spack's `key::` is the same key as `key:`.
func uniqueKeys(p *problems, n *yaml.Node) bool {
	ok := true
	if n.Kind == yaml.MappingNode {
		seen := map[string]*yaml.Node{}
		for key := range entries(n) {
			if key.Kind != yaml.ScalarNode || isNull(key) {
				p.at(key, "a key is %s: keys are text", describe(key))
				ok = false
				continue
			}
			name := plainKey(key.Value)
			if first := seen[name]; first != nil {
				p.at(key, "key %q stands twice: first in line %d", name, first.Line)
				ok = false
				continue
			}
			seen[name] = key
		}
	}
	for _, child := range n.Content {
		ok = uniqueKeys(p, child) && ok
	}
	return ok
}

// maxNodes bounds what aliases expand to: they can multiply, and can be circular.
const maxNodes = 100_000

// expand copies a tree with aliases and merge keys replaced by what they stand
// for, and without comments: parts of it are going to be put elsewhere.
func expand(p *problems, n *yaml.Node, budget *int) *yaml.Node {
	if *budget--; *budget < 0 {
		if *budget == -1 { // once
			p.at(n, "aliases expand to more than %d nodes", maxNodes)
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return expand(p, n.Alias, budget)
	}
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	if n.Kind != yaml.MappingNode {
		for _, child := range n.Content {
			child = expand(p, child, budget)
			if child == nil {
				return nil
			}
			c.Content = append(c.Content, child)
		}
		return c
	}
	var merged []*yaml.Node
	for key, value := range entries(n) {
		value = expand(p, value, budget)
		if value == nil {
			return nil
		}
		if key.Tag == "!!merge" {
			if value.Kind != yaml.SequenceNode {
				value = &yaml.Node{Content: []*yaml.Node{value}}
			}
			for _, m := range value.Content {
				if m.Kind != yaml.MappingNode {
					p.at(m, "<< merges %s: it merges mappings", describe(m))
					return nil
				}
			}
			merged = append(merged, value.Content...)
			continue
		}
		if key = expand(p, key, budget); key == nil {
			return nil
		}
		c.Content = append(c.Content, key, value)
	}
	for _, m := range merged {
		for key, value := range entries(m) {
			if get(c, key.Value) == nil { // what is written here wins
				c.Content = append(c.Content, key, value)
			}
		}
	}
	return c
}

// entries yields the keys and values of a mapping, nothing for another node.
func entries(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// get returns the value of a key, also where it is written as Spack's `key::`.
func get(n *yaml.Node, name string) *yaml.Node {
	for key, value := range entries(n) {
		if plainKey(key.Value) == plainKey(name) {
			return value
		}
	}
	return nil
}

// plainKey takes the colon off that Spack allows behind a key to override.
func plainKey(key string) string {
	return strings.TrimSuffix(key, ":")
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// isText tells whether a node is a non-empty string.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.TrimSpace(n.Value) != ""
}

// describe says what a node is in the words of its writer.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	case n.Tag == "!!int", n.Tag == "!!float":
		return "the number " + n.Value
	case n.Tag == "!!bool":
		return "the truth value " + n.Value
	}
	return strconv.Quote(n.Value)
}
