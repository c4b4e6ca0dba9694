package views

import (
	"fmt"
	"path"
	"slices"
)

// A merger finds out which folders and files a view has.
type merger struct {
	rules       rules
	linkType    LinkType
	linkFolders bool // a folder that only one package has becomes a link
	forest      forest
	trees       map[*Package]*tree

	dirs      map[string]source // by path in the view; the tree is nil where a projection makes it
	files     map[string]source
	byTree    map[*tree][]projected // files, once all are there
	conflicts []Conflict
	fatal     []string // sentences
	claims    int      // of places in the view
	limit     int      // of claims
}

// maxClaims is how many places of a view packages may claim: links to folders
// that become folders make few files many.
const maxClaims = 2 << 20

// full counts a claim, and reports whether there were too many.
func (m *merger) full() bool {
	m.claims++
	return m.claims > m.limit
}

func newMerger(r rules, packages []Package) *merger {
	m := &merger{rules: r, limit: maxClaims, forest: forest{}, trees: map[*Package]*tree{}, dirs: map[string]source{}, files: map[string]source{}}
	for i := range packages {
		t := newTree(&packages[i])
		m.forest[packages[i].Prefix] = t
		m.trees[&packages[i]] = t
	}
	return m
}

// A group is packages, or parts of them, that are merged into one folder.
type group struct {
	to      string // relative to the view
	sources []source
}

// merge projects a group. What skip reports true for is left out.
func (m *merger) merge(g group, skip func(rel string) bool) {
	for dir := g.to; dir != ""; dir = parent(dir) {
		if s, ok := m.files[dir]; ok {
			m.refuse(dir, s, source{})
			return
		}
		m.dirs[dir] = source{}
	}
	w := walk{m, g.to, skip}
	if m.rules.mergesFolders {
		w.together(g.sources, "", 0)
		return
	}
	for _, s := range g.sources {
		w.alone(s, "", 0)
	}
}

// A walk projects files to one place of the view.
type walk struct {
	*merger
	to   string
	skip func(rel string) bool
}

// alone projects a folder of one package, as Spack did before 1.2.
func (w walk) alone(dir source, below string, depth int) {
	for _, name := range w.forest.names(dir) {
		s := source{dir.tree, path.Join(dir.rel, name)}
		at := path.Join(below, name)
		if w.skip(s.rel) {
			continue
		}
		if w.full() {
			return
		}
		if !w.isFolder(s, depth) {
			w.addFile(path.Join(w.to, at), s)
		} else if w.addDir(path.Join(w.to, at), s) {
			w.alone(s, at, depth+1)
		}
	}
}

// isFolder reports whether a file of a package is a folder of the view.
func (w walk) isFolder(s source, depth int) bool {
	switch w.forest.file(s).Kind {
	case Dir:
		return true
	case Symlink:
		return w.forest.isDir(s) && w.forest.below(s, depth)
	}
	return false
}

// addDir makes a folder of the view and reports whether what is in it has a
// place there.
func (w walk) addDir(at string, s source) bool {
	if before, ok := w.files[at]; ok {
		// Since 1.0 a link gives way to the folder that it leads to.
		if !w.rules.breadthFirst || !w.isLink(before) || !w.forest.same(before, s) {
			w.refuse(at, before, s)
			return false
		}
		delete(w.files, at)
	}
	if _, ok := w.dirs[at]; !ok {
		w.dirs[at] = s
	}
	return true
}

// addFile takes a file into the view, unless another one is there.
func (w walk) addFile(at string, s source) {
	if before, ok := w.dirs[at]; ok {
		if !w.rules.breadthFirst || before.tree == nil || !w.isLink(s) || !w.forest.same(before, s) {
			w.refuse(at, before, s)
		}
		return
	}
	before, ok := w.files[at]
	switch {
	case !ok:
		w.files[at] = s
	case !w.rules.dependentsFirst || !w.forest.same(before, s):
		w.conflict(at, before, s)
	case !w.isLink(s), !w.rules.breadthFirst && w.forest.isDir(s): // better the file itself than a link to it
		w.files[at] = s
	}
}

// together projects the folders of several packages that have the same place,
// as Spack does since 1.2.
func (w walk) together(active []source, below string, depth int) {
	type claims struct{ dirs, files []source }
	found := map[string]*claims{}
	var names []string
	for _, dir := range active {
		for _, name := range w.forest.names(dir) {
			s := source{dir.tree, path.Join(dir.rel, name)}
			if w.skip(s.rel) {
				continue
			}
			if w.full() {
				return
			}
			c := found[name]
			if c == nil {
				c = &claims{}
				found[name] = c
				names = append(names, name)
			}
			if w.isFolder(s, depth) {
				c.dirs = append(c.dirs, s)
			} else {
				c.files = append(c.files, s)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c, at := found[name], path.Join(below, name)
		place := path.Join(w.to, at)
		switch {
		case len(c.dirs) > 0 && !w.giveWay(place, c.dirs, c.files):
		case len(c.dirs) == 0:
			w.putFirst(place, c.files)
		case w.linkFolders && depth > 0 && len(c.dirs) == 1:
			w.files[place] = c.dirs[0]
		default:
			w.dirs[place] = c.dirs[0]
			w.together(c.dirs, at, depth+1)
		}
	}
}

// giveWay reports whether all files in the place of folders are links that
// lead to one of them. Other files are fatal.
func (w walk) giveWay(at string, dirs, files []source) bool {
	ok := true
	for _, s := range files {
		leads := func(dir source) bool { return w.forest.same(s, dir) }
		if !w.isLink(s) || !slices.ContainsFunc(dirs, leads) {
			w.refuse(at, dirs[0], s)
			ok = false
		}
	}
	return ok
}

// putFirst takes the first of several files with one place. Where a later one
// is what a first link leads to, it takes that.
func (w walk) putFirst(at string, files []source) {
	first := files[0]
	for _, s := range files[1:] {
		switch {
		case !w.forest.same(first, s):
			w.conflict(at, first, s)
		case w.isLink(first) && !w.isLink(s):
			first = s
		}
	}
	w.files[at] = first
}

func (m *merger) isLink(s source) bool { return m.forest.file(s).Kind == Symlink }

// conflict records that a path of the view is taken.
func (m *merger) conflict(at string, kept, dropped source) {
	one, other := kept.tree.pkg.Spec, dropped.tree.pkg.Spec
	i := slices.IndexFunc(m.conflicts, func(c Conflict) bool { return c.Kept == one && c.Dropped == other })
	if i < 0 {
		i = len(m.conflicts)
		m.conflicts = append(m.conflicts, Conflict{Kept: one, Dropped: other})
	}
	m.conflicts[i].Paths = append(m.conflicts[i].Paths, at)
}

// refuse records a conflict for which Spack makes no view.
func (m *merger) refuse(at string, one, other source) {
	m.fatal = append(m.fatal, fmt.Sprintf("%s is %s, and %s", at, m.claim(one), m.claim(other)))
}

func (m *merger) claim(s source) string {
	switch {
	case s.tree == nil:
		return "a folder by a projection"
	case m.forest.file(s).Kind == Dir || m.dirs[s.rel] == s:
		return "a folder of " + s.tree.pkg.Spec.String()
	}
	return "a file of " + s.tree.pkg.Spec.String()
}

// refusal is the error of a view that Spack would not make; nil: there is none.
func (m *merger) refusal(v View) error {
	if m.claims > m.limit {
		return fmt.Errorf("view %s: its packages claim more than %d places in it: exclude the one with links to many folders", v.Root, m.limit)
	}
	if len(m.fatal) == 0 {
		return nil
	}
	more := ""
	if n := len(m.fatal) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("view %s: %s%s: Spack makes no such view: exclude one of them, or give it a projection", v.Root, m.fatal[0], more)
}
