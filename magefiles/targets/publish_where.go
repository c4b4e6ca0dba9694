package targets

import (
	"context"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A destination is where a run publishes: a release to the registries, a branch
// to the branches' own.
type destination struct {
	registries []registry.Registry // none: nothing is published
	release    bool
	ref        publish.Ref
}

// destination decides it. What is no release never goes where releases are
// read, whatever flags say.
func (a *app) destination(ctx context.Context, ref publish.Ref, o publishOptions) (destination, error) {
	isRelease, scope, err := a.release(ctx, o.release)
	if err != nil {
		return destination{}, err
	}
	to := destination{release: isRelease, ref: ref}
	prefix := a.config.Branches.Registry
	switch {
	case isRelease && o.branch != nil && *o.branch != ref.Default:
		return to, wrongCall("--branch=%s is no release: releases are made from %s", *o.branch, ref.Default)
	case isRelease:
		to.registries, err = a.registries(o.registry, o.environment)
		return to, err
	case prefix == "" && a.env.CI != "":
		a.Log.Warn("nothing is published: this is no release, and branches have no registry of their own", "this", scope, "configuration", "branches: {registry: PREFIX}")
		return to, nil
	case prefix == "":
		return to, wrongCall("this is no release (%s): give --release to publish one, or name a registry for branches in %s: branches: {registry: PREFIX}", scope, ConfigFile)
	case o.registry != nil || o.environment != nil:
		return to, wrongCall("--registry and --environment are for releases (--release): what is none goes to %s", prefix)
	case ref.Branch == "":
		return to, wrongCall("which branch is this? give --branch=NAME, or run in a git checkout that is on one")
	}
	to.registries = []registry.Registry{a.registryAt(prefix)}
	return to, nil
}

// tags are those of a release's version, or the one of the branch.
func (d destination) tags(version string) ([]string, error) {
	switch {
	case d.release && d.ref.Tag == "" && d.ref.Branch == d.ref.Default && !d.ref.Pull:
		return d.ref.Tags(version)
	case d.release: // at a shell, on some other branch or on none
		return publish.Ref{Tag: "release"}.Tags(version)
	case d.ref.Pull: // from anybody, who may call his branch as he likes
		return []string{"pull" + strings.TrimPrefix(branch.Tag(d.ref.Branch), "branch")}, nil
	}
	return []string{branch.Tag(d.ref.Branch)}, nil
}

// releaseVerifier knows the signatures of the release builder; nil where no key
// is configured, and then the release repository's write rights are the trust.
func (a *app) releaseVerifier() (*attest.Verifier, error) {
	if a.config.ImageKey == "" {
		return nil, nil
	}
	return attest.ReadVerifier(a.config.ImageKey)
}
