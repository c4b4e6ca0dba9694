package targets

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// checkRegistries refuses prefixes that lead nowhere, and a registry of branches in which some of
// their images would be where releases are read.
func (c Config) checkRegistries(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	branches := registry.Registry{Prefix: c.Branches.Registry}
	_, branchesAt := yamlstrict.Find(data, "branches", "registry")
	if branches.Prefix != "" {
		if _, err := branches.Repository("name"); err != nil {
			fail(branchesAt, "%v", err)
		}
	}
	for i, r := range c.Registries {
		_, at := yamlstrict.Find(data, "registries", strconv.Itoa(i))
		if r.Prefix == "" {
			fail(at, "a registry needs a prefix, such as ghcr.io/organization/")
			continue
		}
		if _, err := registry.Registry(r).Repository("name"); err != nil {
			fail(at, "%v", err)
		} else if shared, err := branches.Shares(registry.Registry(r)); branches.Prefix != "" && err == nil && shared {
			fail(branchesAt, "branches: registry %s has repositories in common with the registry %s, of which releases are read: give it a folder of its own, such as %sbranches/",
				branches.Prefix, r.Prefix, r.Prefix[:strings.LastIndex(r.Prefix, "/")+1])
		}
	}
}

// variables is what names of variables begin with.
var variables = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// taken are variables that are for one registry, and for no other that a configuration might name.
var taken = map[string]string{"GHCR": "ghcr.io", "DOCKERHUB": "docker.io", "CI_REGISTRY": "the GitLab of the CI job"}

// checkCredentials refuses what cannot be the name of variables. It repeats none: people put the
// secret itself there.
func (c Config) checkCredentials(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	check := func(value string, isRegistry bool, keys ...string) {
		_, at := yamlstrict.Find(data, append(keys, "credentials")...)
		switch host, isTaken := taken[value]; {
		case value != "" && !variables.MatchString(value):
			fail(at, "credentials: want the name that variables of the environment begin with, in capitals, digits and _, such as RELEASES for RELEASES_USER and RELEASES_PASSWORD or RELEASES_ACCESS_KEY_ID and RELEASES_SECRET_ACCESS_KEY; secrets never stand here")
		case isRegistry && isTaken:
			fail(at, "credentials: %s_… are those of %s, which has them without being told: choose another name for credentials of its own", value, host)
		}
	}
	for i, r := range c.Registries {
		check(r.Credentials, true, "registries", strconv.Itoa(i))
		for _, other := range c.Registries[:i] {
			if strings.EqualFold(r.Prefix, other.Prefix) && r.Credentials != other.Credentials {
				_, at := yamlstrict.Find(data, "registries", strconv.Itoa(i))
				fail(at, "the registry %s is named twice, with other credentials: which ones?", r.Prefix)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Platforms)) {
		check(c.Platforms[name].Credentials, false, "platforms", name)
	}
	check(c.Branches.Credentials, true, "branches")
}
