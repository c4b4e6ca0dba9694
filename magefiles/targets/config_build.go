package targets

import (
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// checkBuild refuses what git, podman, mmdebstrap and apt-get would not take for the name that it
// is to be.
func (c Config) checkBuild(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	check := func(err error, keys ...string) {
		if err != nil {
			_, at := yamlstrict.Find(data, keys...)
			fail(at, "%v", err)
		}
	}
	check(podman.Source{URL: c.Spack.URL, Ref: c.Spack.Ref}.Check(), "spack", "url")
	for i, r := range c.Spack.Repos {
		source := podman.Source{URL: r.URL, Ref: r.Ref, Paths: r.Paths}
		check(source.Check(), "spack", "repos", strconv.Itoa(i))
	}
	check(podman.CheckImage(c.BaseImage), "base_image")
	for _, name := range slices.Sorted(maps.Keys(c.Platforms)) {
		if own := c.Platforms[name].BaseImage; own != "" {
			check(podman.CheckImage(own), "platforms", name, "base_image")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Packages)) {
		if !slices.Contains(podman.Bases, name) {
			at, _ := yamlstrict.Find(data, "packages", name)
			fail(at, "%q is no base image: %s", name, suggest.Hint(name, podman.Bases))
			continue
		}
		for i, p := range c.Packages[name] {
			check(podman.CheckPackage(p), "packages", name, strconv.Itoa(i))
		}
	}
}

// checkBranchesMirror refuses a mirror for branches that a release reads, or that cannot be one.
func (c Config) checkBranchesMirror(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	if c.Branches.Mirror == "" {
		return
	}
	_, place := yamlstrict.Find(data, "branches", "mirror")
	branches, err := buildcache.ParseLocation(c.Branches.Mirror, "")
	if err != nil {
		fail(place, "%v", err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.Platforms)) {
		at, err := buildcache.ParseLocation(c.Platforms[name].Mirror, "")
		if err == nil && (at.Contains(branches) || branches.Contains(at)) {
			fail(place, "releases for %s read %s: what branches build must not get there", name, at)
		}
	}
}
