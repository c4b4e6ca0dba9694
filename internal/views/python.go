package views

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A hook adds the files of one package to a view as its recipe does.
type hook struct {
	*merger
	view   View
	pkg    *Package
	copied map[string]string // paths in the view of what was copied, by inode
}

// add returns the entry of one file.
func (h *hook) add(f projected) Entry {
	file := h.forest.file(f.source)
	switch h.pkg.Hook {
	case PythonVenv:
		if strings.HasPrefix(strings.ToLower(path.Base(f.at)), "activate") {
			return h.copyOf(f, h.pkg.Prefix)
		}
	case PythonScripts, Python:
		switch interpreter := h.interpreter(); {
		case !inBin(f.rel) || !h.copiesBin():
		case file.Kind == Symlink:
			return h.relink(f)
		case file.Run && file.Bang:
			return h.copyOf(f, interpreter)
		case !h.rules.makesVenvs:
			return h.copyOf(f, "")
		}
	}
	return h.entry(f, h.isKnown())
}

// isKnown reports whether the recipe tells Spack whose the files are that it neither copies nor relinks itself.
func (h *hook) isKnown() bool {
	return h.pkg.Hook != PythonVenv && (h.pkg.Hook != PythonScripts || h.pkg.Interpreter == "")
}

// interpreter is the prefix that scripts of the package are run from.
func (h *hook) interpreter() string {
	if h.pkg.Hook == Python {
		return h.pkg.Prefix
	}
	return h.pkg.Interpreter
}

// copiesBin reports whether files of the package's bin are copied. Before 0.23
// that was everything, the interpreter itself too; since then views are virtual
// environments, and scripts of extensions are enough.
func (h *hook) copiesBin() bool {
	return !h.rules.makesVenvs || h.pkg.Hook == PythonScripts && h.pkg.Interpreter != ""
}

func (h *hook) isCopied(file *File) bool {
	return file.Kind == Regular && (!h.rules.makesVenvs || file.Run && file.Bang)
}

// copyOf is a copy of a file in which from is replaced by the view.
func (h *hook) copyOf(f projected, from string) Entry {
	_, file, ok := h.forest.resolve(f.path())
	if !ok || file == nil || file.Kind != Regular || h.pkg != f.tree.pkg {
		return h.entry(f, h.isKnown())
	}
	e := Entry{Path: f.at, Kind: Regular, Owner: h.pkg.Spec, Prefix: h.pkg.Prefix, Source: inode(file)}
	if from != "" {
		e.From, e.To = from, h.view.Place(*h.pkg)
	}
	return e
}

// relink is a link whose target may be a copy in the view: then it leads there.
func (h *hook) relink(f projected) Entry {
	if h.copied == nil {
		h.copied = h.copies()
	}
	_, file, ok := h.forest.resolve(f.path())
	if !ok || file == nil {
		return h.entry(f, true)
	}
	at, isCopied := h.copied[inode(file)]
	if !isCopied {
		return h.entry(f, true)
	}
	link := relative(path.Dir(f.at), at)
	if !h.rules.makesVenvs {
		link = path.Join(h.view.Root, at)
	}
	return Entry{Path: f.at, Kind: Symlink, Link: link, Owner: h.pkg.Spec}
}

// copies returns where the files of the package are that the view has copies
// of.
func (h *hook) copies() map[string]string {
	found := map[string]string{}
	for _, f := range h.of(h.pkg) {
		file := h.forest.file(f.source)
		if inBin(f.rel) && h.isCopied(file) {
			found[inode(file)] = f.at
		}
	}
	return found
}

// relative returns how a link in a folder names another path of the view.
func relative(dir, target string) string {
	var from []string
	if dir != "." {
		from = strings.Split(dir, "/")
	}
	to := strings.Split(target, "/")
	for len(from) > 0 && len(to) > 1 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	return strings.Repeat("../", len(from)) + strings.Join(to, "/")
}

// further returns what a recipe adds that is no file of the package. A view of copies has an interpreter of its own,
// and is no virtual environment.
func (h *hook) further() []Entry {
	at := path.Join(h.view.projection(*h.pkg), "pyvenv.cfg")
	if _, ok := h.files[at]; h.pkg.Hook != Python || !h.rules.makesVenvs || h.linkType == Copies || ok {
		return nil
	}
	return []Entry{{Path: at, Kind: Regular, Owner: h.pkg.Spec, Text: []byte(h.venv(path.Dir(path.Join(h.view.Root, at))))}}
}

// venv is the pyvenv.cfg that makes a virtual environment of a view.
func (h *hook) venv(root string) string {
	version := h.pkg.Spec.Version
	parts := versionParts(version)
	command := "python"
	for n := min(2, len(parts)); n > 0; n-- {
		name := "python" + strings.Join(parts[:n], ".")
		if h.trees[h.pkg].files["bin/"+name] != nil {
			command = name
			break
		}
	}
	command = path.Join(h.pkg.Prefix, "bin", command)
	return fmt.Sprintf("home = %s\ninclude-system-site-packages = false\nversion = %s\nexecutable = %s\ncommand = %s -m venv --without-pip %s\n",
		path.Dir(command), version, command, command, root)
}

// PythonPath returns the folders of a view, relative to its root, that hold
// modules of Python extensions: what PYTHONPATH names. Spack's recipe of python
// leaves out what depends on python-venv, but not python-venv, which has the
// same folder in the view.
func (v View) PythonPath(packages []Package) []string {
	var found []string
	for _, p := range packages {
		if !dependsOnPython(p.Spec) || p.Hook == PythonVenv {
			continue
		}
		for _, f := range p.Files {
			dir := path.Join(v.projection(p), sitePackages(f.Path))
			if sitePackages(f.Path) != "" && !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
	}
	slices.Sort(found)
	return found
}

// sitePackages returns the folder for modules that a path begins with, such as
// lib/python3.11/site-packages; empty: none.
func sitePackages(name string) string {
	parts := strings.SplitN(name, "/", 4)
	if len(parts) >= 3 && (parts[0] == "lib" || parts[0] == "lib64") && strings.HasPrefix(parts[1], "python") && parts[2] == "site-packages" {
		return strings.Join(parts[:3], "/")
	}
	return ""
}
