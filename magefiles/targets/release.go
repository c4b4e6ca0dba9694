package targets

import (
	"context"
	"fmt"
)

// release reports whether what is built now may go where releases are read:
// because CI says that it works on the protected default branch, or at a shell
// because the user says --release. Everything else is a branch's, and scope names
// it: what two scopes build is never shared.
func (a *app) release(ctx context.Context, flag *bool) (is bool, scope string, err error) {
	ref := a.gitRef(ctx, nil)
	protected := a.env.Git.Protected && !ref.Pull && ref.Tag == "" && ref.Branch != "" && ref.Branch == ref.Default
	known := a.env.CI == "github" || a.env.CI == "gitlab"
	if protected && a.elsewhere(ctx) {
		protected = false
		if or(flag, false) {
			return false, "", wrongCall("--release: the checkout is not of the commit that %s works on, so it is not the protected default branch", a.env.CI)
		}
		a.Log.Warn("this is no release: the checkout is not of the commit that the CI system works on", "commit", a.env.Git.Commit)
	}
	switch {
	case or(flag, false) && known && !protected:
		return false, "", wrongCall("--release: %s does not say that this is the protected default branch, which alone makes releases", a.env.CI)
	case protected, or(flag, false):
		return true, "release", nil
	case ref.Branch == "":
		return false, "no branch", nil
	}
	return false, fmt.Sprintf("branch %s", ref.Branch), nil
}

// elsewhere reports whether the checkout is of another commit than the one that CI works on: jobs
// that run for the default branch when a pull request is opened, named or commented on may check
// out what its author wrote.
func (a *app) elsewhere(ctx context.Context) bool {
	here := checkout(ctx).Commit
	return here != "" && a.env.Git.Commit != "" && here != a.env.Git.Commit
}
