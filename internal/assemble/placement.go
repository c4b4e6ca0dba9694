package assemble

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// place decides where each package of an image is, and which have to be
// relocated: spliced ones, which look for other dependencies than they were
// built with, those built for another install tree, and those that look for a
// package elsewhere than it is. All others stay as they are, byte for byte.
func place(lock *buildcache.Lockfile, packages []payload) error {
	prefixes := map[buildcache.Hash]string{}
	for i := range packages {
		p := &packages[i]
		prefix, err := newPrefix(p.Spec, p.contents)
		if err != nil {
			return err
		}
		p.Prefix = prefix
		prefixes[p.Spec.Hash] = prefix
	}
	if err := checkApart(packages); err != nil {
		return err
	}
	for i := range packages {
		packages[i].plan(lock, prefixes)
	}
	return nil
}

// newPrefix is where a package is put: where it was built for, if that is in
// our install tree, and in the same place of it otherwise. The prefix of a
// spliced package has its own hash.
func newPrefix(spec *buildcache.Spec, c contents) (string, error) {
	tree, relative := c.Tree, c.Relative
	if !within(path.Clean(tree), InstallTree) {
		tree = InstallTree
	}
	if spec.BuildSpec != "" {
		if !strings.Contains(relative, string(spec.BuildSpec)) {
			return "", fmt.Errorf("%s is spliced, and its binary is at %s, without its hash: install it with Spack", spec, relative)
		}
		relative = strings.ReplaceAll(relative, string(spec.BuildSpec), string(spec.Hash))
	}
	prefix := path.Join(tree, relative)
	if !within(prefix, InstallTree) || prefix == InstallTree {
		return "", fmt.Errorf("%s: its prefix %s is not in %s", spec, prefix, InstallTree)
	}
	return prefix, nil
}

// checkApart refuses packages one in the other: a file of one could stand for
// a file of the other.
func checkApart(packages []payload) error {
	owners := map[string]*buildcache.Spec{}
	for _, p := range packages {
		if before := owners[p.Prefix]; before != nil {
			return fmt.Errorf("%s and %s are both at %s", before, p.Spec, p.Prefix)
		}
		owners[p.Prefix] = p.Spec
	}
	for _, prefix := range append(slices.Sorted(maps.Keys(owners)), path.Join(InstallTree, "bin", "sbang")) {
		for dir := path.Dir(prefix); within(dir, InstallTree); dir = path.Dir(dir) {
			if owner := owners[dir]; owner != nil {
				return fmt.Errorf("%s is at %s, around %s, which is not its own", owner, dir, prefix)
			}
		}
	}
	return nil
}

// plan finds out what a package has to be relocated by, if anything.
func (p *payload) plan(lock *buildcache.Lockfile, prefixes map[buildcache.Hash]string) {
	old := p.prefix()
	pairs, moved := p.dependencies(lock, prefixes)
	if old == p.Prefix && !moved && p.asIs() {
		return
	}
	pairs = append(pairs, replacement{old, p.Prefix}, replacement{p.Tree, p.installTree()})
	p.relocation = &relocation{inBinaries: newReplacer(pairs), links: map[string]bool{}, spliced: p.Spec.BuildSpec != ""}
	for _, name := range p.Links {
		p.relocation.links[path.Clean(name)] = true
	}
	sbang := p.Sbang
	if sbang != "" && !within(path.Clean(sbang), InstallTree) {
		sbang = path.Join(InstallTree, "bin", "sbang")
		pairs = append([]replacement{{p.Sbang, sbang}}, pairs...)
	}
	p.Sbang = sbang
	p.relocation.inText = newReplacer(pairs)
}

// installTree is the one that the package is in: perhaps a padded one in ours.
func (p *payload) installTree() string {
	if within(path.Clean(p.Tree), InstallTree) {
		return p.Tree
	}
	return InstallTree
}

// dependencies returns where the package looks for its dependencies and where
// they are, and whether that differs.
func (p *payload) dependencies(lock *buildcache.Lockfile, prefixes map[buildcache.Hash]string) (pairs []replacement, moved bool) {
	for _, dep := range relocatable(lock, p.Spec) {
		now, ok := prefixes[dep.Hash]
		if !ok {
			continue // an external, or not in this image
		}
		before, ok := p.Prefixes[analog(lock, p.Spec, dep)]
		if !ok {
			continue
		}
		pairs = append(pairs, replacement{before, now})
		moved = moved || path.Clean(before) != now
	}
	return pairs, moved
}

// relocatable returns the specs whose prefixes may be in a package: itself and
// what it links, directly or not, and what it runs directly.
func relocatable(lock *buildcache.Lockfile, spec *buildcache.Spec) []*buildcache.Spec {
	specs := lock.Closure([]buildcache.Hash{spec.Hash}, buildcache.Link)
	slices.Reverse(specs)
	for _, dep := range spec.Dependencies {
		if run := lock.Specs[dep.Hash]; dep.Types&buildcache.Run != 0 && run != nil && !slices.Contains(specs, run) {
			specs = append(specs, run)
		}
	}
	return specs
}

// analog returns the hash under which a package was built with what is now
// dep: dep's own, unless dep was spliced in. Then it is that of the package
// with the same name in the original, or else of the one that provided the
// same virtual packages; of several, the newest.
func analog(lock *buildcache.Lockfile, spec, dep *buildcache.Spec) buildcache.Hash {
	if spec.BuildSpec == "" {
		return dep.Hash
	}
	types := buildcache.Link | buildcache.Run | buildcache.Test
	var best *buildcache.Spec
	original := lock.Closure([]buildcache.Hash{spec.BuildSpec}, types)
	for _, candidate := range original {
		if candidate.Hash == dep.Hash {
			return dep.Hash
		}
	}
	wanted := virtuals(lock, spec.Hash, dep)
	for _, candidate := range original {
		isSame := candidate.Name == dep.Name
		if !isSame && (len(wanted) == 0 || !subset(wanted, virtuals(lock, spec.BuildSpec, candidate))) {
			continue
		}
		if best == nil || better(candidate, best, dep.Name) {
			best = candidate
		}
	}
	if best == nil {
		return dep.Hash
	}
	return best.Hash
}

// better reports whether a is nearer than b to a package of the given name.
func better(a, b *buildcache.Spec, name string) bool {
	if (a.Name == name) != (b.Name == name) {
		return a.Name == name
	}
	return views.CompareVersions(a.Version, b.Version) > 0
}

// virtuals returns the virtual packages that a spec provides to others of a
// root's DAG.
func virtuals(lock *buildcache.Lockfile, root buildcache.Hash, spec *buildcache.Spec) map[string]bool {
	provided := map[string]bool{}
	all := buildcache.Build | buildcache.Link | buildcache.Run | buildcache.Test
	for _, parent := range lock.Closure([]buildcache.Hash{root}, all) {
		for _, dep := range parent.Dependencies {
			if dep.Hash != spec.Hash {
				continue
			}
			for _, name := range dep.Virtuals {
				provided[name] = true
			}
		}
	}
	return provided
}

func subset(a, b map[string]bool) bool {
	for name := range a {
		if !b[name] {
			return false
		}
	}
	return true
}
