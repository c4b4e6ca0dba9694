package views

import (
	"path"
	"slices"
	"strings"
)

// A tree is the files of one package, to be walked and looked up.
type tree struct {
	pkg      *Package
	files    map[string]*File    // by path; the prefix itself is ""
	children map[string][]string // names in a folder, sorted
}

func newTree(p *Package) *tree {
	t := &tree{pkg: p, files: make(map[string]*File, len(p.Files)+1), children: map[string][]string{}}
	t.files[""] = &File{Kind: Dir}
	for i := range p.Files {
		t.files[p.Files[i].Path] = &p.Files[i]
	}
	for i := range p.Files {
		t.imply(parent(p.Files[i].Path))
	}
	for name := range t.files {
		if name != "" {
			t.children[parent(name)] = append(t.children[parent(name)], path.Base(name))
		}
	}
	for _, names := range t.children {
		slices.Sort(names)
	}
	return t
}

// imply makes a folder that is not listed.
func (t *tree) imply(dir string) {
	for t.files[dir] == nil {
		t.files[dir] = &File{Path: dir, Kind: Dir}
		dir = parent(dir)
	}
}

// parent is path.Dir with "" for the top.
func parent(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}

// A forest is the trees of all packages, by prefix.
type forest map[string]*tree

// maxLinks is how many symbolic links a path may lead through, as Linux has it.
const maxLinks = 40

// resolve follows symbolic links to their end. The file is nil where that is
// no file of a package; ok is false for a path that certainly leads nowhere.
func (f forest) resolve(name string) (real string, file *File, ok bool) {
	var at *tree
	rest := strings.Split(strings.Trim(path.Clean(name), "/"), "/")
	real = "/"
	for links := 0; len(rest) > 0; {
		next := path.Join(real, rest[0])
		if rest[0] == ".." {
			next = path.Dir(real)
		}
		rest = rest[1:]
		if at, file = f.find(next, at); at == nil {
			real = next
			continue
		}
		switch {
		case file == nil:
			return "", nil, false
		case file.Kind != Symlink:
			real = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, false
		}
		target := file.Link
		if !path.IsAbs(target) {
			target = path.Join(real, target)
		}
		real, at = "/", nil
		rest = append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest...)
	}
	_, file = f.find(real, nil)
	return real, file, true
}

// find returns the package that an absolute path is in, and its file. The tree
// that the path's parent is in saves a search.
func (f forest) find(name string, near *tree) (*tree, *File) {
	if near != nil && strings.HasPrefix(name, near.pkg.Prefix+"/") {
		return near, near.files[name[len(near.pkg.Prefix)+1:]]
	}
	for dir := name; dir != "/"; dir = path.Dir(dir) {
		if t := f[dir]; t != nil {
			if dir == name {
				return t, t.files[""]
			}
			return t, t.files[name[len(dir)+1:]]
		}
	}
	return nil, nil
}

// A source is a file of a package that is projected into a view.
type source struct {
	tree *tree
	rel  string
}

func (s source) path() string { return path.Join(s.tree.pkg.Prefix, s.rel) }

// file returns what is at a source, itself not followed. Folders above it may
// be links.
func (f forest) file(s source) *File {
	_, file := f.lookup(s)
	return file
}

// lookup returns file with the tree that it is in, which is another one behind a link to a folder of another package.
func (f forest) lookup(s source) (*tree, *File) {
	if file := s.tree.files[s.rel]; file != nil {
		return s.tree, file
	}
	dir, _, _ := f.resolve(path.Dir(s.path()))
	return f.find(path.Join(dir, path.Base(s.rel)), nil)
}

// names returns those in a folder, or in the folder that a link leads to.
func (f forest) names(s source) []string {
	if names := s.tree.children[s.rel]; names != nil {
		return names
	}
	real, _, _ := f.resolve(s.path())
	if t, _ := f.find(real, nil); t != nil {
		return t.children[strings.TrimPrefix(strings.TrimPrefix(real, t.pkg.Prefix), "/")]
	}
	return nil
}

// isDir reports whether a file is a folder, or a link that leads to one.
func (f forest) isDir(s source) bool {
	file := f.file(s)
	if file.Kind == Symlink {
		_, file, _ = f.resolve(s.path())
	}
	return file != nil && file.Kind == Dir
}

// same reports whether two files are one: they lead to the same place.
func (f forest) same(a, b source) bool {
	one, x, ok := f.resolve(a.path())
	two, y, alsoOK := f.resolve(b.path())
	if !ok || !alsoOK {
		return false
	}
	return one == two || a.tree == b.tree && x != nil && y != nil && inode(x) == inode(y)
}

// inode names the bytes of a file, which hard links share.
func inode(f *File) string {
	if f.Same != "" {
		return f.Same
	}
	return f.Path
}

// below reports whether a link to a folder becomes a folder of the view, so
// that what it holds can meet files of other packages there: in the first two
// levels, where it leads into the folder that it is in. Like Spack, this
// compares the beginnings of the names.
func (f forest) below(s source, depth int) bool {
	if depth > 1 {
		return false
	}
	dir, _, ok := f.resolve(path.Dir(s.path()))
	target, _, alsoOK := f.resolve(s.path())
	return ok && alsoOK && strings.HasPrefix(target, dir)
}
