package targets

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/git"
	"github.com/openbraininstitute/spacktainers/janitor"
)

// readPackages lists package repositories: folders, or git repositories by
// URL, with #REF for a branch or tag that is not the default one.
func readPackages(ctx context.Context, repos []string) (janitor.Packages, error) {
	all := janitor.Packages{}
	for _, repo := range repos {
		packages, err := packagesOf(ctx, repo)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, packages)
	}
	return all, nil
}

func packagesOf(ctx context.Context, repo string) (janitor.Packages, error) {
	if !strings.Contains(repo, "://") {
		return janitor.ReadPackages(repo)
	}
	if err := git.CheckURL(repo); err != nil {
		return nil, wrongCall("--repo: %v", err)
	}
	dir, err := os.MkdirTemp("", "spacktainers-repo-")
	if err != nil {
		return nil, fmt.Errorf("package repository: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := command.Exec(nil)(ctx, cloneCmd(repo, dir)); err != nil {
		return nil, fmt.Errorf("package repository %s: %w", repo, err)
	}
	packages, err := janitor.ReadPackages(dir)
	if err != nil {
		return nil, fmt.Errorf("clone of %s: %w", repo, err)
	}
	return packages, nil
}

// cloneCmd clones what a ref of a repository has now, without its history.
func cloneCmd(repo, dir string) command.Cmd {
	url, ref, hasRef := strings.Cut(repo, "#")
	args := []string{"git", "clone", "--quiet", "--depth=1"}
	if hasRef {
		args = append(args, "--branch="+ref)
	}
	return command.Cmd{Args: append(args, "--", url, dir), Env: []string{"GIT_TERMINAL_PROMPT=0"}}
}
