package publish

import (
	"errors"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
)

// A Ref is the git reference that images are published from.
type Ref struct {
	Branch  string // empty where a git tag is built
	Pull    bool   // a pull request: from anybody, so never the default branch, whatever its branch is called
	Tag     string // the git tag, if one is built
	Default string // the repository's default branch
}

// Latest is the tag of the newest version, from the default branch.
const Latest = "latest"

// Tags are those that a version gets, the most important last: the version
// itself, and latest, from the default branch; VERSION__BRANCH from any other.
func (r Ref) Tags(version string) ([]string, error) {
	version = branch.Version(version)
	switch {
	case version == "":
		return nil, errors.New("the image has no version to name a tag after: build it again")
	case r.Tag != "":
		return []string{version}, nil
	case r.Branch == "":
		return nil, errors.New("which branch is this? give --branch=NAME, or run in a git checkout that is on one")
	case r.Branch == r.Default && r.Pull:
		return Ref{Branch: "pull-" + r.Branch, Pull: true}.Tags(version)
	case r.Branch == r.Default:
		return []string{version, Latest}, nil
	}
	slug := branch.Slug(r.Branch)
	if slug == "" {
		return nil, errors.New("branch " + r.Branch + " leaves no letter or digit for a tag: rename it")
	}
	return []string{version + branch.Separator + slug}, nil
}

// Fixed reports whether the first of Tags is a version, which stays with its
// build; a branch's tag moves on with the branch.
func (r Ref) Fixed() bool { return r.Tag != "" || r.Branch == r.Default && !r.Pull }

// keyTag is the tag of a build key. It never moves: the same key is the same
// build.
func keyTag(buildKey string) string { return keyPrefix + buildKey[:min(16, len(buildKey))] }

// lockTag is the tag of an image by the key under which its lockfile was concretized.
func lockTag(concretization string) string {
	return lockPrefix + concretization[:min(16, len(concretization))]
}

const (
	keyPrefix  = "key-"
	lockPrefix = "lock-"
)

// isKeyTag recognizes the tags by which machines find a build or a lockfile.
func isKeyTag(tag string) bool {
	for _, prefix := range []string{keyPrefix, lockPrefix} {
		if digits, ok := strings.CutPrefix(tag, prefix); ok && len(digits) == 16 && strings.Trim(digits, "0123456789abcdef") == "" {
			return true
		}
	}
	return false
}
