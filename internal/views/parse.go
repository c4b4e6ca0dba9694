package views

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/abstract"
)

// environmentRoot is what relative roots of views are relative to.
const environmentRoot = "/opt/spack-environment"

// Parse returns the views of an environment, given its spack.yaml. The default
// view of an environment that says nothing or true is at root. What an
// assembled image cannot have is an error that says so.
func Parse(environment []byte, root string) ([]View, error) {
	var text struct {
		Spack struct {
			View yaml.Node `yaml:"view"`
		} `yaml:"spack"`
	}
	if err := yaml.Unmarshal(environment, &text); err != nil {
		return nil, fmt.Errorf("spack.yaml: %w", err)
	}
	return ParseNode(&text.Spack.View, root)
}

// DefaultRoot returns the root of an environment's default view, also of one that no assembled
// image can have, and whether there is a default view.
func DefaultRoot(environment []byte, root string) (string, bool) {
	var text struct {
		Spack struct {
			View yaml.Node `yaml:"view"`
		} `yaml:"spack"`
	}
	if yaml.Unmarshal(environment, &text) != nil {
		return root, true // whoever reads it next says what is wrong
	}
	var flag bool
	node := &text.Spack.View
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag != "!!null" && node.Decode(&flag) == nil:
		return root, flag
	case node.Kind == yaml.ScalarNode && node.Tag != "!!null":
		return absolute(node.Value), true
	case node.Kind != yaml.MappingNode:
		return root, true
	}
	var named map[string]struct {
		Root string `yaml:"root"`
	}
	if node.Decode(&named) != nil {
		return root, true
	}
	view, ok := named[defaultName]
	return absolute(view.Root), ok
}

// absolute is a view's root as the image has it.
func absolute(root string) string {
	if !path.IsAbs(root) {
		root = path.Join(environmentRoot, root)
	}
	return path.Clean(root)
}

// ParseNode is Parse for what stands below spack: view:.
func ParseNode(node *yaml.Node, root string) ([]View, error) {
	var flag bool
	switch {
	case node == nil || node.IsZero() || node.Tag == "!!null":
		return []View{Default(root)}, nil
	case node.Kind == yaml.ScalarNode && node.Decode(&flag) == nil:
		if !flag {
			return nil, nil
		}
		return []View{Default(root)}, nil
	case node.Kind == yaml.ScalarNode:
		v := Default(node.Value)
		return checked([]View{v})
	case node.Kind != yaml.MappingNode:
		return nil, errors.New("view: a truth value, a path or a mapping of names")
	}
	var views []View
	for i := 0; i+1 < len(node.Content); i += 2 {
		v, err := parseOne(node.Content[i].Value, node.Content[i+1])
		if err != nil {
			return nil, fmt.Errorf("view %s: %w", node.Content[i].Value, err)
		}
		views = append(views, v)
	}
	return checked(views)
}

func parseOne(name string, node *yaml.Node) (View, error) {
	text := struct {
		Root        string    `yaml:"root"`
		Link        string    `yaml:"link"`
		LinkType    string    `yaml:"link_type"`
		LinkDirs    bool      `yaml:"link_dirs"`
		Select      []string  `yaml:"select"`
		Exclude     []string  `yaml:"exclude"`
		Projections yaml.Node `yaml:"projections"`
		Group       yaml.Node `yaml:"group"`
	}{Link: string(All), LinkType: string(Symlinks), LinkDirs: true}
	if node.Kind != yaml.MappingNode {
		return View{}, errors.New("a mapping, such as {root: /opt/view}")
	}
	if err := node.Decode(&text); err != nil {
		return View{}, err
	}
	if linkTypes[LinkType(text.LinkType)] == "" {
		return View{}, fmt.Errorf("link_type %q: symlink, copy or hardlink", text.LinkType)
	}
	v := View{Name: name, Root: text.Root, Link: Link(text.Link), LinkType: linkTypes[LinkType(text.LinkType)], LinkDirs: text.LinkDirs, Select: text.Select, Exclude: text.Exclude}
	for i := 0; i+1 < len(text.Projections.Content); i += 2 {
		v.Projections = append(v.Projections, Projection{text.Projections.Content[i].Value, text.Projections.Content[i+1].Value})
	}
	switch text.Group.Kind {
	case yaml.ScalarNode:
		v.Groups = []string{text.Group.Value}
	case yaml.SequenceNode:
		if err := text.Group.Decode(&v.Groups); err != nil {
			return View{}, err
		}
	}
	return v, nil
}

// checked refuses views that cannot be made, and makes their roots absolute.
func checked(views []View) ([]View, error) {
	for i := range views {
		v := &views[i]
		if err := v.check(); err != nil {
			return nil, fmt.Errorf("view %s: %w", v.Name, err)
		}
		v.Root = absolute(v.Root)
		for _, other := range views[:i] {
			if inside(v.Root, other.Root) || inside(other.Root, v.Root) {
				return nil, fmt.Errorf("views %s and %s are one in the other: %s and %s", other.Name, v.Name, other.Root, v.Root)
			}
		}
	}
	return views, nil
}

func inside(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

func (v *View) check() error {
	switch {
	case v.Root == "":
		return errors.New("it needs a root, such as /opt/view")
	case strings.ContainsAny(v.Root, "$~\x00\n"):
		return fmt.Errorf("root %q: variables are not known in an image: write the path", v.Root)
	case path.Clean(v.Root) == "/" || strings.Contains("/"+v.Root+"/", "/../"):
		return fmt.Errorf("root %q: a folder of its own", v.Root)
	case !slices.Contains([]Link{All, Run, Roots}, v.Link):
		return fmt.Errorf("link %q: all, run or roots", v.Link)
	}
	example := &buildcache.Spec{Name: "x", Version: "1", Compiler: "x@1", Hash: buildcache.Hash(strings.Repeat("a", 32))}
	for _, spec := range slices.Concat(v.Select, v.Exclude) {
		if hasDependency(spec) {
			if _, err := abstract.Parse(spec, false); err != nil {
				return fmt.Errorf("spec %q: %w", spec, err)
			}
		} else if _, err := satisfies(example, spec); err != nil {
			return err
		}
	}
	for _, p := range v.Projections {
		if _, err := satisfies(example, p.Spec); err != nil {
			return err
		}
		for _, t := range token.FindAllStringSubmatch(p.Format, -1) {
			if _, ok := attribute(t[1], example); !ok {
				return fmt.Errorf("projection %q: {%s} is not known here", p.Format, t[1])
			}
		}
	}
	return nil
}
