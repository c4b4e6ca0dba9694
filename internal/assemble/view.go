package assemble

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// View is where an image shows all its packages as one tree.
const View = "/opt/view"

// A Conflict is what two packages claim of the view.
type Conflict struct {
	Kept    *buildcache.Spec // the package that the view shows
	Dropped *buildcache.Spec // the one whose files stay in its prefix only
	Paths   []string         // relative to the view
}

func (c Conflict) String() string {
	more := ""
	if n := len(c.Paths) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s%s: of %s, not of %s", path.Join(View, c.Paths[0]), more, c.Kept, c.Dropped)
}

// A viewEntry is a folder of the view, or a symbolic link into a prefix.
type viewEntry struct {
	Path   string // relative to the view
	Target string // empty for a folder
	owner  *buildcache.Spec
}

// makeView projects packages into one tree as Spack's environment views do:
// real folders, one absolute link for each file. Where two packages have the
// same path the first of them keeps it. A package's metadata (.spack) goes to
// .spack/NAME, since every package has it.
func makeView(packages []payload) ([]viewEntry, []Conflict) {
	v := view{entries: map[string]viewEntry{}}
	for _, p := range packages {
		v.project(p)
	}
	entries := make([]viewEntry, 0, len(v.entries))
	for _, e := range v.entries {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b viewEntry) int { return cmp.Compare(a.Path, b.Path) })
	return entries, v.conflicts
}

type view struct {
	entries   map[string]viewEntry
	conflicts []Conflict
}

func (v *view) project(p payload) {
	folders := map[string]bool{}
	for _, e := range p.Entries {
		folders[e.Path] = e.Dir
	}
	for _, e := range p.Entries {
		switch {
		case e.Path == ".spack" || e.Path == buildInfo:
		case strings.HasPrefix(e.Path, ".spack/"):
			v.addEntry(p, e, path.Join(".spack", p.Spec.Name, strings.TrimPrefix(e.Path, ".spack/")))
		case folders[e.Link] && asFolder(e):
			v.projectLink(p, e)
		default:
			v.addEntry(p, e, e.Path)
		}
	}
}

// asFolder says whether a link to a folder becomes a folder of the view, so
// that lib64 -> lib of one package meets the lib64 of another. Spack does so
// for links in the first two levels that lead into the folder that they are in
// (before_visit_symlinked_dir in its filesystem_view.py).
func asFolder(link entry) bool {
	dir := path.Dir(link.Path)
	return strings.Count(link.Path, "/") <= 1 && (dir == "." || within(link.Link, dir)) && !within(link.Path, link.Link)
}

func (v *view) projectLink(p payload, link entry) {
	v.addEntry(p, entry{Path: link.Path, Dir: true}, link.Path)
	for _, e := range p.Entries {
		if below, ok := strings.CutPrefix(e.Path, link.Link+"/"); ok {
			at := path.Join(link.Path, below)
			v.addEntry(p, entry{Path: at, Dir: e.Dir}, at)
		}
	}
}

func (v *view) addEntry(p payload, e entry, to string) {
	target := path.Join(p.Prefix, e.Path)
	if e.Dir {
		target = ""
	}
	v.add(viewEntry{to, target, p.Spec})
}

func (v *view) add(e viewEntry) {
	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		before, ok := v.entries[dir]
		if ok && before.Target != "" {
			v.conflict(e, before)
			return
		}
		if !ok {
			v.entries[dir] = viewEntry{dir, "", e.owner}
		}
	}
	before, ok := v.entries[e.Path]
	switch {
	case !ok:
		v.entries[e.Path] = e
	case before.Target == "" && e.Target == "": // both have the folder
	default:
		v.conflict(e, before)
	}
}

// conflict notes that a path of the view is taken. Metadata of two builds of a
// package is in each other's way by nature, and nobody's loss.
func (v *view) conflict(e, before viewEntry) {
	if strings.HasPrefix(e.Path, ".spack/") {
		return
	}
	at := slices.IndexFunc(v.conflicts, func(c Conflict) bool { return c.Kept == before.owner && c.Dropped == e.owner })
	if at < 0 {
		at = len(v.conflicts)
		v.conflicts = append(v.conflicts, Conflict{Kept: before.owner, Dropped: e.owner})
	}
	v.conflicts[at].Paths = append(v.conflicts[at].Paths, e.Path)
}
