package podman

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Packages are some packages of one container's lockfile.
type Packages struct {
	Container Container
	Hashes    []buildcache.Hash
}

// minPrefix is how much of a hash must be given at least.
const minPrefix = 5

// FindPackages looks for packages in the lockfiles of containers. Each is named by its hash or the
// beginning of it, and is returned once, with a container whose lockfile has it: as few containers
// as can be had easily, since each is a build of its own. Externals and unknown hashes are errors.
func FindPackages(containers []Container, names []string) ([]Packages, error) {
	wanted := map[buildcache.Hash]bool{}
	for _, name := range names {
		hash, err := findPackage(containers, strings.TrimPrefix(name, "/"))
		if err != nil {
			return nil, err
		}
		wanted[hash] = true
	}
	var found []Packages
	for len(wanted) > 0 {
		best := Packages{}
		for _, c := range containers {
			p := Packages{Container: c}
			for hash := range wanted {
				if c.Lock.Specs[hash] != nil {
					p.Hashes = append(p.Hashes, hash)
				}
			}
			if len(p.Hashes) > len(best.Hashes) {
				best = p
			}
		}
		slices.Sort(best.Hashes)
		for _, hash := range best.Hashes {
			delete(wanted, hash)
		}
		found = append(found, best)
	}
	return found, nil
}

// findPackage returns the hash that a name is, or begins.
func findPackage(containers []Container, name string) (buildcache.Hash, error) {
	if len(name) < minPrefix || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", fmt.Errorf("%q is no hash of a package: want its letters a-z and digits 2-7, at least the first %d", name, minPrefix)
	}
	found := map[buildcache.Hash]*buildcache.Spec{}
	for _, c := range containers {
		for hash, spec := range c.Lock.Specs {
			if strings.HasPrefix(string(hash), name) {
				found[hash] = spec
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("none of the lockfiles has a package with hash %s: mage ci:plan lists what is to be built", name)
	case 1:
	default:
		var specs []string
		for _, spec := range found {
			specs = append(specs, spec.String())
		}
		slices.Sort(specs)
		return "", fmt.Errorf("%s begins several hashes, give more of it: %s", name, strings.Join(specs, ", "))
	}
	for hash, spec := range found {
		if spec.External {
			return "", fmt.Errorf("%s is external: the system has it, and nothing is built", spec)
		}
		return hash, nil
	}
	return "", nil
}

// Packages builds some packages of a container's lockfile in the builder, with what they need of it
// and no build cache has. They leave through the gateway, each as soon as it is built; no image is
// made. A package that fails stops none that does not need it.
func (e Engine) Packages(ctx context.Context, p Packages) error {
	c := p.Container
	c.Anew = true // a step that podman remembers hands nothing over
	c.KeepGoing = true
	dir := e.packagesContext(p)
	err := c.writeContext(dir, c.dockerfile(lockTemplate, e.Builder.ID, ""))
	if err == nil {
		err = e.podmanBuild(ctx, c, dir, "packages", packageArgs(p.Hashes))
	}
	if err == nil {
		err = os.RemoveAll(dir) // other packages have another one: they would become many
	}
	return err
}

// packagesContext is the folder that they are built from. Several may be at work on packages of one
// container at a time, so each has its own, and its own log.
func (e Engine) packagesContext(p Packages) string {
	sum := sha256.New()
	sum.Write(p.Container.LockText)
	for _, hash := range p.Hashes {
		fmt.Fprintln(sum, hash)
	}
	return fmt.Sprintf("%s.packages-%x", e.context(p.Container), sum.Sum(nil)[:4])
}

// packageArgs say which packages are built. No layer is kept: what counts has left by then.
func packageArgs(hashes []buildcache.Hash) []string {
	words := make([]string, len(hashes))
	for i, hash := range hashes {
		words[i] = string(hash)
	}
	return []string{"--layers=false", "--build-arg=HASHES=" + strings.Join(words, ",")}
}
