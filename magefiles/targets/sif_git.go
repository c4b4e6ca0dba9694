package targets

import (
	"context"
	"errors"
)

// sifBranch is the branch that a SIF is named after, as tags of images are; the
// SIFs of git tags and of the default branch are releases, and it is empty.
// Outside of a git checkout everything is one.
func (a *app) sifBranch(ctx context.Context, flag *string) (string, error) {
	ref := a.gitRef(ctx, flag)
	switch {
	case ref.Tag != "" || ref.Fixed():
		return "", nil
	case ref.Branch == ref.Default:
		return "pull-" + ref.Branch, nil // a pull request from a fork's main is no release
	case ref.Branch == "" && askGit(ctx, "rev-parse", "--git-dir") != "":
		return "", errors.New("which branch is this? the checkout is on none: give --branch=NAME")
	}
	return ref.Branch, nil
}
