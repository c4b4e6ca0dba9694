package views

import (
	"fmt"
	"path"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A View is one of an environment's views, as spack.yaml describes it.
type View struct {
	Name        string       // such as default
	Root        string       // absolute, in the image
	Link        Link         // which packages it is made of
	LinkType    LinkType     // how the view has the files of packages
	LinkDirs    bool         // since Spack 1.2: a folder of one package only is a link
	Select      []string     // specs, one of which a package must satisfy; none: all do
	Exclude     []string     // specs, none of which a package may satisfy
	Projections []Projection // in their order
	Groups      []string     // of roots, since Spack 1.2; none: all
}

// defaultName is the view whose variables are those of the environment.
const defaultName = "default"

// Default is the view that an environment has by itself.
func Default(root string) View {
	return View{Name: defaultName, Root: root, Link: All, LinkType: Symlinks, LinkDirs: true}
}

// LinkType tells how a view has the files of packages.
type LinkType string

// What link_type: in spack.yaml means.
const (
	Symlinks  LinkType = "symlink"
	Copies    LinkType = "copy"     // prefixes in them become places in the view
	Hardlinks LinkType = "hardlink" // of files and of symbolic links
)

// linkTypes are Spack's names for them.
var linkTypes = map[LinkType]LinkType{
	"symlink": Symlinks, "soft": Symlinks, "add": Symlinks, "copy": Copies, "relocate": Copies, "hardlink": Hardlinks, "hard": Hardlinks,
}

// A Projection is where the packages that a spec matches are in a view.
type Projection struct {
	Spec   string // or all
	Format string // such as {name}/{version}
}

// Link tells which packages a view is made of.
type Link string

// What link: in spack.yaml may say.
const (
	All   Link = "all"   // the roots and what they need when they run
	Run   Link = "run"   // the roots and their dependencies of type run
	Roots Link = "roots" // the roots alone
)

func (l Link) types() buildcache.DepTypes {
	switch l {
	case Run:
		return buildcache.Run
	case Roots:
		return 0
	}
	return buildcache.Runtime
}

// linkFolders reports whether folders may be links.
func (v View) linkFolders() bool { return v.LinkDirs && v.LinkType == Symlinks }

// checkNames refuses two packages of one name in one place, as Spack does.
func (v View) checkNames(packages []Package) error {
	seen := map[string]*Package{}
	for i := range packages {
		at := path.Join(v.projection(packages[i]), packages[i].Spec.Name)
		if before := seen[at]; before != nil {
			return fmt.Errorf("view %s: %s and %s have the same place in it: concretize with unify: true, write view: false, or give them projections", v.Root, before.Spec, packages[i].Spec)
		}
		seen[at] = &packages[i]
	}
	return nil
}

// groups returns what is merged at a time: since 1.2 all packages with the
// same projection, before that one package after the other.
func (v View) groups(m *merger, packages []Package) []group {
	var groups []group
	places := map[string]int{}
	for i := range packages {
		to := v.projection(packages[i])
		s := source{m.trees[&packages[i]], ""}
		at, ok := places[to]
		if !ok || !m.rules.mergesFolders {
			at, places[to] = len(groups), len(groups)
			groups = append(groups, group{to: to})
		}
		groups[at].sources = append(groups[at].sources, s)
	}
	return groups
}

// Place returns the folder where a package is in the view; a package that is not in the view has one too.
func (v View) Place(p Package) string { return path.Join(v.Root, v.projection(p)) }

// projection returns where a package is in the view, relative to its root. An
// extension is where the package is that it extends.
func (v View) projection(p Package) string {
	spec := p.Spec
	if p.Extends != nil {
		spec = p.Extends
	}
	format := ""
	for _, projection := range v.Projections {
		if projection.Spec == "all" {
			format = projection.Format
		} else if ok, _ := satisfies(spec, projection.Spec); ok {
			format = projection.Format
			break
		}
	}
	return strings.Trim(path.Clean("/"+expand(format, spec)), "/")
}
