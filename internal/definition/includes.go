package definition

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// includedFolder is where an environment finds what it refers to by relative paths, beside its
// spack.yaml.
const includedFolder = "included"

// elsewhere begins what is no path of this machine: a URL, or a place that Spack itself has.
var elsewhere = regexp.MustCompile(`^(?:[a-z][a-z0-9+.-]*://|git@|\$spack(?:/|$)|\$\{spack\}|builtin$)`)

// readPaths finds the files and folders that an environment refers to by paths relative to itself,
// and rewrites these to where they are in the build.
func (l *loader) readPaths(p *problems, d *Definition) {
	r := pathReader{l: l, p: p, d: d}
	for key, value := range entries(d.Spack) {
		switch sectionName(key.Value) {
		case "include", "include_concrete":
			for _, item := range value.Content {
				r.item(item, sectionName(key.Value) == "include")
			}
		case "repos":
			r.repositories(value)
		case "develop":
			for name, item := range entries(value) {
				r.develop(name, item)
			}
		}
	}
}

type pathReader struct {
	l *loader
	p *problems
	d *Definition
}

// item is a path, or since Spack 1.0 a mapping that has one, or that is of a git repository.
func (r pathReader) item(item *yaml.Node, config bool) {
	at, optional := item, false
	if item.Kind == yaml.MappingNode {
		if get(item, "git") != nil {
			return
		}
		if at = get(item, "path"); at == nil {
			r.p.at(item, "an include has no path")
			return
		}
		flag := get(item, "optional")
		optional = flag != nil && flag.Value == "true"
	}
	r.path(at, optional, config)
}

func (r pathReader) repositories(value *yaml.Node) {
	for _, item := range value.Content {
		if value.Kind == yaml.SequenceNode && item.Kind == yaml.ScalarNode {
			r.path(item, false, false)
		}
	}
	for _, item := range entries(value) {
		switch {
		case item.Kind == yaml.ScalarNode:
			r.path(item, false, false)
		case item.Kind == yaml.MappingNode && get(item, "destination") != nil:
			r.p.at(get(item, "destination"), "a repository's destination is the build's own matter: leave it out")
		}
	}
}

// develop is a package whose source is a folder: that of its name, where none is named.
func (r pathReader) develop(name, item *yaml.Node) {
	if item.Kind != yaml.MappingNode {
		return
	}
	at := get(item, "path")
	if at == nil {
		at = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name.Value, Line: name.Line, Column: name.Column}
		item.Content = append(item.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "path"}, at)
	}
	r.path(at, false, false)
}

// path takes one path along, or says why it cannot come.
func (r pathReader) path(at *yaml.Node, optional, config bool) {
	if !isText(at) {
		r.p.at(at, "a path is %s: it is a string", describe(at))
		return
	}
	written := strings.TrimPrefix(strings.TrimPrefix(at.Value, "file://"), "$env/")
	switch {
	case elsewhere.MatchString(written):
		return
	case path.IsAbs(written) || strings.HasPrefix(written, "~"):
		r.p.at(at, "%q is a path of one machine: put it into the repository, and name it relative to %s", at.Value, r.d.Dir)
		return
	case strings.Contains(written, "$"):
		r.p.at(at, "%q has a variable: name it relative to %s", at.Value, r.d.Dir)
		return
	}
	source := path.Join(r.d.Dir, written)
	if !filepath.IsLocal(source) || source == "." {
		r.p.at(at, "%q leads outside of the repository", at.Value)
		return
	}
	if problem := r.l.unreadable(source); problem != "" {
		if !optional || problem != "does not exist" {
			r.p.at(at, "%q %s: there is no such file or folder to take along", at.Value, problem)
		}
		return
	}
	if config && !r.selfContained(at, source) {
		return
	}
	target := path.Join(includedFolder, fmt.Sprint(len(r.d.Included)), source) // with its parents: a repository of Spack 1 needs them
	r.d.Included = append(r.d.Included, FilePair{Source: source, Target: target})
	at.Value, at.Style = "./"+target, 0
}

// selfContained refuses an included file that refers to others by relative paths: these would not
// be found.
func (r pathReader) selfContained(at *yaml.Node, source string) bool {
	data, err := fs.ReadFile(r.l.fsys, source)
	if err != nil { // a folder: each section is a file of its own
		return true
	}
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil || len(document.Content) == 0 {
		r.p.at(at, "%q is no YAML", at.Value)
		return false
	}
	for key := range entries(document.Content[0]) {
		if name := sectionName(key.Value); name == "include" || name == "develop" {
			r.p.at(at, "%q has %s in line %d: name that in %s itself", at.Value, name, key.Line, r.d.Path)
			return false
		}
	}
	return true
}

// unreadable says why a file or folder of the repository cannot be copied, with all below it; empty
// where it can.
func (l *loader) unreadable(source string) (problem string) {
	root, err := os.OpenRoot(l.root)
	if err != nil {
		return reason(err)
	}
	defer func() { _ = root.Close() }()
	walk(root, source, func(name string, _ fs.FileInfo, err error) {
		if err != nil && problem == "" {
			problem = reason(err)
		}
	})
	return problem
}
