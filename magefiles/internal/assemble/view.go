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

// A Conflict is a path of the view that two packages claim.
type Conflict struct {
	Path    string           // relative to the view
	Kept    *buildcache.Spec // the package that the view shows
	Dropped *buildcache.Spec // the one whose file stays in its prefix only
}

func (c Conflict) String() string {
	return fmt.Sprintf("%s: of %s, not of %s", path.Join(View, c.Path), c.Kept, c.Dropped)
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
		for _, e := range p.Entries {
			if e.Path == ".spack" || e.Path == buildInfo {
				continue
			}
			to := e.Path
			if below, ok := strings.CutPrefix(e.Path, ".spack/"); ok {
				to = path.Join(".spack", p.Spec.Name, below)
			}
			target := path.Join(p.Prefix, e.Path)
			if e.Dir {
				target = ""
			}
			v.add(viewEntry{to, target, p.Spec})
		}
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

func (v *view) add(e viewEntry) {
	for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
		before, ok := v.entries[dir]
		if ok && before.Target != "" {
			v.conflicts = append(v.conflicts, Conflict{e.Path, before.owner, e.owner})
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
		v.conflicts = append(v.conflicts, Conflict{e.Path, before.owner, e.owner})
	}
}
