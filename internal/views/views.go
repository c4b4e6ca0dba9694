// Package views computes what Spack's environment views hold: one tree of
// links to the files of several packages, made by the rules of the Spack that
// wrote the lockfile.
//
// It is given lists of files and returns a list of entries: it reads and
// writes no file, and runs no recipe. What recipes do beyond linking is known
// for Python only; a recipe with a hook of its own is an error.
package views

import (
	"path"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Kind tells what a file of a package is.
type Kind uint8

// The kinds of files.
const (
	Regular Kind = iota
	Dir
	Symlink
)

// A File is a file, folder or symbolic link below a package's prefix.
type File struct {
	Path string // relative to the prefix
	Kind Kind
	Link string // of a symbolic link: what it leads to, as it is written
	Same string // of a further hard link: the path of the first one
	Run  bool   // of a regular file: its mode lets it be run
	Bang bool   // of a regular file: it begins with #!
}

// A Package is an installed package.
type Package struct {
	Spec        *buildcache.Spec
	Prefix      string           // absolute and clean
	Files       []File           // in any order; folders that are not listed are implied
	Hook        Hook             // what its recipe does to a view
	Extends     *buildcache.Spec // the package that it extends, python mostly; nil: none
	Interpreter string           // with PythonScripts: the prefix of its python-venv or python; empty where the system has it
}

// An Entry is a folder, link or file of a view.
type Entry struct {
	Path   string // relative to the view's root
	Kind   Kind
	Link   string           // of a link: what it leads to
	Owner  *buildcache.Spec // nil for folders
	Source string           // of a file that is a copy: its path below Prefix
	Prefix string           // of the package that it is a copy from
	Text   []byte           // of a file that is no copy
	From   string           // of a copy: text that is replaced by To, in every line
	To     string

	Hard     bool // a copy stands for a hard link: it has the same content, mode and time
	Relocate bool // in a copy, or in where a link leads, prefixes that Owner may know become their Place
}

// A Conflict is what two packages claim of a view.
type Conflict struct {
	Kept    *buildcache.Spec // the package that the view shows
	Dropped *buildcache.Spec // the one whose files stay in its prefix only
	Paths   []string         // relative to the view
}

// A Result is what a view holds.
type Result struct {
	Entries   []Entry // sorted by path; folders come before what is in them
	Conflicts []Conflict
}

// Make returns what a view of packages holds. The packages come in the order
// that View.Order has for their specs; version is that of the Spack that wrote
// the lockfile.
//
// Where Spack refuses a view, Make returns an error: for two packages of the
// same name in one place, and for a file of one where another has a folder.
func (v View) Make(version string, packages []Package) (Result, error) {
	if err := v.checkNames(packages); err != nil {
		return Result{}, err
	}
	m := newMerger(rulesOf(version), packages)
	m.linkFolders, m.linkType = m.rules.mergesFolders && v.linkFolders(), v.LinkType
	ours := func(rel string) bool { return path.Base(rel) == metadata }
	for _, group := range v.groups(m, packages) {
		m.merge(group, ours)
	}
	if err := m.refusal(v); err != nil {
		return Result{}, err
	}
	entries := m.folders()
	for i := range packages {
		made, err := v.link(&packages[i], m)
		if err != nil {
			return Result{}, err
		}
		entries = append(entries, made...)
	}
	meta, err := v.linkMetadata(m, packages)
	if err != nil {
		return Result{}, err
	}
	entries = append(entries, meta...)
	if m.rules.mergesFolders {
		// The mark by which Spack knows its own view again. Its content is a
		// digest that only Spack needs.
		entries = append(entries, Entry{Path: marker, Kind: Regular, Text: []byte{}})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return Result{Entries: slices.CompactFunc(entries, sameFolder), Conflicts: m.conflicts}, nil
}

// metadata is the folder of a package's prefix that holds what Spack knows of
// it. Every package has one, so a view has it as .spack/NAME.
const metadata = ".spack"

func sameFolder(a, b Entry) bool { return a.Path == b.Path && a.Kind == Dir && b.Kind == Dir }
