package assemble

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// View is where an image shows all its packages as one tree, unless its
// environment says otherwise.
const View = "/opt/view"

// A Conflict is what two packages claim of a view.
type Conflict struct {
	views.Conflict
	Root string // of the view
}

func (c Conflict) String() string {
	more := ""
	if n := len(c.Paths) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s%s: of %s, not of %s", path.Join(c.Root, c.Paths[0]), more, c.Kept, c.Dropped)
}

// A viewTree is what one view of the image holds.
type viewTree struct {
	views.View
	entries  []views.Entry
	python   []string                             // folders below the root that PYTHONPATH names
	replacer func(*buildcache.Spec) *viewReplacer // for what is copied of a package
}

// makeViews makes the views of an image.
func makeViews(c Container, packages []payload) ([]viewTree, []Conflict, error) {
	var trees []viewTree
	var conflicts []Conflict
	installed := describeAll(packages)
	wanted, err := views.Parse(c.Spack, View)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range wanted {
		roots, err := c.lockRoots(v)
		if err != nil {
			return nil, nil, err
		}
		specs, err := v.Order(c.Lock, roots)
		if err != nil {
			return nil, nil, err
		}
		var members []views.Package
		for _, spec := range specs {
			if p, ok := installed[spec.Hash]; ok {
				members = append(members, p)
			}
		}
		made, err := v.Make(c.Lock.Spack.Version, members)
		if err != nil {
			return nil, nil, err
		}
		for _, conflict := range made.Conflicts {
			conflicts = append(conflicts, Conflict{conflict, v.Root})
		}
		tree := viewTree{v, made.Entries, v.PythonPath(members), viewReplacers(v, c.Lock, packages, installed)}
		tree.relocateLinks()
		trees = append(trees, tree)
	}
	return trees, conflicts, nil
}

// viewRules are the inputs of the build key that decide how views are made.
func viewRules(c Container) []image.Input {
	return []image.Input{{Kind: "view rules", Digest: views.Rules(c.Lock.Spack.Version)}}
}

// lockRoots returns the roots that a view is made of, in the order of the
// lockfile, by which Spack decides what a view shows.
func (c Container) lockRoots(v views.View) ([]buildcache.Hash, error) {
	var groups struct {
		Roots []struct {
			Hash  buildcache.Hash `json:"hash"`
			Group string          `json:"group"` // since lockfile version 7
		} `json:"roots"`
	}
	if err := json.Unmarshal(c.LockText, &groups); err != nil {
		return nil, err
	}
	inGroup := map[buildcache.Hash]bool{}
	for _, root := range groups.Roots {
		if slices.Contains(v.Groups, cmp.Or(root.Group, "default")) {
			inGroup[root.Hash] = true
		}
	}
	var roots []buildcache.Hash
	for _, root := range c.Lock.Roots {
		if slices.Contains(c.Roots, root.Hash) && (len(v.Groups) == 0 || inGroup[root.Hash]) {
			roots = append(roots, root.Hash)
		}
	}
	return roots, nil
}

// describeAll tells the views room of the packages, by hash.
func describeAll(packages []payload) map[buildcache.Hash]views.Package {
	prefixes := map[buildcache.Hash]*payload{}
	for i := range packages {
		prefixes[packages[i].Spec.Hash] = &packages[i]
	}
	described := map[buildcache.Hash]views.Package{}
	for _, p := range packages {
		d := views.Package{Spec: p.Spec, Prefix: p.Prefix, Files: p.Files, Hook: views.HookOf(p.Spec, p.Recipe)}
		for _, name := range []string{"python", "python-venv"} { // the latter wins
			for _, dep := range p.Spec.Dependencies {
				python := prefixes[dep.Hash]
				if dep.Name != name || python == nil || d.Hook != views.PythonScripts && d.Hook != views.PythonVenv {
					continue
				}
				d.Interpreter = python.Prefix
				if name == "python" {
					d.Extends = python.Spec
				}
			}
		}
		described[p.Spec.Hash] = d
	}
	return described
}
