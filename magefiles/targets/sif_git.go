package targets

import (
	"context"
	"errors"
	"strings"

	"github.com/openbraininstitute/spacktainers/magefiles/internal/command"
)

// sifBranch is the branch that a SIF is named after; the default branch, whose
// SIFs are releases, is empty. Outside of a git checkout everything is one.
func sifBranch(ctx context.Context, flag *string) (string, error) {
	branch := or(flag, askGit(ctx, "symbolic-ref", "--quiet", "--short", "HEAD"))
	main := strings.TrimPrefix(askGit(ctx, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"), "origin/")
	switch {
	case branch == "" && flag == nil && askGit(ctx, "rev-parse", "--git-dir") != "":
		return "", errors.New("which branch is this? the checkout is on none: give --branch=NAME")
	case branch == main, main == "" && branch == "main":
		return "", nil
	}
	return branch, nil
}

// askGit asks the checkout that we are in; where there is none, or it does not
// know, the answer is empty.
func askGit(ctx context.Context, args ...string) string {
	out, err := command.Output(ctx, command.Exec(nil), command.Cmd{Args: append([]string{"git"}, args...)})
	if err != nil {
		return ""
	}
	return out
}

func lsRemote(ctx context.Context, repository string) (string, error) {
	return command.Output(ctx, command.Exec(nil), command.Cmd{Args: []string{"git", "ls-remote", "--heads", "--", repository}})
}
