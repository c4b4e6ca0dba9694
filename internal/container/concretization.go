package container

import (
	"errors"
	"fmt"
	"slices"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Concretizer is what makes a lockfile of an environment.
type Concretizer struct {
	Spack   string   // its commit
	Repos   []string // commit and paths of each package repository, in order
	Builder string   // build key of the builder image
}

// ConcretizationKey names all that is known to decide a lockfile: the merged environment with the
// files that it refers to, platform and target, and what concretizes. The lockfile is no function
// of it, since a solver may choose among equals, and that is what the key is for: a build that
// finds a lockfile that was published under it takes that and solves nothing. What only the image
// is made of, such as an epilogue, is not in it: an edit there must not choose other packages.
//
// A concretizer of which something is not known has no key, and that is an error.
func (c Container) ConcretizationKey(by Concretizer) (string, error) {
	if by.Spack == "" || by.Builder == "" || slices.Contains(by.Repos, "") {
		return "", errors.New("concretization key: the commit of Spack or of a package repository, or the builder, is not known")
	}
	inputs := slices.Clone(c.environment)
	add := func(kind, name, digest string) {
		inputs = append(inputs, image.Input{Kind: kind, Name: name, Digest: digest})
	}
	add("concretization", "", "1")
	add("platform", "", c.Platform)
	add("target", "", c.Target)
	add("environment", "", sum(c.Spack))
	add("spack", "", by.Spack)
	for i, repo := range by.Repos {
		add("repository", fmt.Sprint(i+1), repo)
	}
	add("builder", "", by.Builder)
	return image.BuildKey(inputs), nil
}
