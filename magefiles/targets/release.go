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
