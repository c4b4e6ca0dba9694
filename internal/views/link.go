package views

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// marker is by what Spack since 1.2 knows a view as its own.
const marker = ".spack-view"

// folders returns the folders that the merger has found.
func (m *merger) folders() []Entry {
	var entries []Entry
	for at := range m.dirs {
		entries = append(entries, Entry{Path: at, Kind: Dir})
	}
	return entries
}

// A projected file is one that a package has in the view.
type projected struct {
	source
	at string // relative to the view
}

// of returns what a package has in the view, by path.
func (m *merger) of(p *Package) []projected {
	if m.byTree == nil {
		m.byTree = map[*tree][]projected{}
		for at, s := range m.files {
			m.byTree[s.tree] = append(m.byTree[s.tree], projected{s, at})
		}
		for _, files := range m.byTree {
			slices.SortFunc(files, func(a, b projected) int { return cmp.Compare(a.at, b.at) })
		}
	}
	return m.byTree[m.trees[p]]
}

// link makes the entries of a package, as its recipe does.
func (v View) link(p *Package, m *merger) ([]Entry, error) {
	files := m.of(p)
	switch {
	case len(files) == 0:
		return nil, nil
	case p.Hook == UnknownHook:
		return nil, fmt.Errorf("view %s: the recipe of %s adds its files to views in a way of its own (add_files_to_view), which only Spack can run: exclude it from the view, or build with Spack", v.Root, p.Spec)
	}
	h := hook{view: v, pkg: p, merger: m}
	var entries []Entry
	for _, f := range files {
		entries = append(entries, h.add(f))
	}
	return append(entries, h.further()...), nil
}

// linkMetadata makes .spack/NAME of every package. It is merged on its own,
// since what is in it is never left out and meets nothing else.
func (v View) linkMetadata(m *merger, packages []Package) ([]Entry, error) {
	alone := &merger{rules: m.rules, linkType: m.linkType, limit: m.limit, forest: m.forest, trees: m.trees, dirs: map[string]source{}, files: map[string]source{}}
	for i := range packages {
		t := m.trees[&packages[i]]
		if t.files[metadata] == nil {
			continue
		}
		to := path.Join(v.projection(packages[i]), metadata, packages[i].Spec.Name)
		alone.merge(group{to, []source{{t, metadata}}}, func(string) bool { return false })
	}
	entries := alone.folders()
	for at, s := range alone.files {
		entries = append(entries, alone.entry(projected{s, at}, false))
	}
	return entries, alone.refusal(v)
}

// entry is what a view has of a file: a symbolic link to it, or by its link type a copy or a hard link. Spack looks for
// prefixes in those copies only for which the recipe says whose they are.
func (m *merger) entry(f projected, isKnown bool) Entry {
	e := Entry{Path: f.at, Kind: Symlink, Link: f.path(), Owner: f.tree.pkg.Spec}
	if m.linkType != Copies && m.linkType != Hardlinks {
		return e
	}
	t, file := m.forest.lookup(f.source)
	e.Relocate = m.linkType == Copies && isKnown
	if e.Kind, e.Link = file.Kind, file.Link; e.Kind == Regular {
		e.Prefix, e.Source, e.Hard = t.pkg.Prefix, inode(file), m.linkType == Hardlinks
	}
	return e
}

// inBin reports whether a file is below a package's bin.
func inBin(rel string) bool { return strings.HasPrefix(rel, "bin/") }
