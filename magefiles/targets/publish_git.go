package targets

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/git"
	"github.com/openbraininstitute/spacktainers/internal/publish"
)

// gitRef says what is being published: by the flags, else by the CI system,
// else by the checkout.
func (a *app) gitRef(ctx context.Context, branch *string) publish.Ref {
	g := a.env.Git
	ref := publish.Ref{Branch: g.Branch, Tag: g.Tag, Pull: g.Pull, Default: g.Default}
	if ref.Default == "" {
		ref.Default = defaultBranch(g.Event)
	}
	if ref.Default == "" {
		ref.Default = checkout(ctx).Default
	}
	if ref.Default == "" {
		ref.Default = "main"
	}
	if branch != nil {
		ref.Branch, ref.Tag, ref.Pull = *branch, "", false
	}
	if ref.Branch == "" && ref.Tag == "" {
		ref.Branch = checkout(ctx).Branch
	}
	return ref
}

// defaultBranch reads what GitHub writes down about the event that it runs for.
func defaultBranch(event string) string {
	var content struct {
		Repository struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"repository"`
	}
	text, err := os.ReadFile(event)
	if err != nil || json.Unmarshal(text, &content) != nil {
		return ""
	}
	return content.Repository.DefaultBranch
}

// origin says who publishes what, for the provenance.
func (a *app) origin(ctx context.Context, ref publish.Ref) attest.Origin {
	g := a.env.Git
	o := attest.Origin{Source: git.PublicURL(g.Source), Commit: g.Commit, Branch: ref.Branch, Builder: g.Job, Time: time.Now()}
	here := checkout(ctx)
	if o.Commit == "" {
		o.Commit = here.Commit
		if here.Changed {
			o.Commit += "-dirty"
		}
	}
	if o.Source == "" {
		o.Source = here.Remote
	}
	return o
}

// checkout is the git checkout that we are in.
func checkout(ctx context.Context) git.Checkout {
	return git.Describe(func(args ...string) string { return askGit(ctx, args...) })
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

// liveBranches lists the branches that exist: from a file, one a line, or from
// a git repository.
func liveBranches(ctx context.Context, file, repository string) ([]string, error) {
	var text string
	var err error
	if file != "" {
		var content []byte
		content, err = os.ReadFile(file)
		text = string(content)
	} else {
		text, err = command.Output(ctx, command.Exec(nil), command.Cmd{Args: []string{"git", "ls-remote", "--heads", "--", repository}})
	}
	if err != nil {
		return nil, err
	}
	var branches []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		branches = append(branches, strings.TrimPrefix(fields[len(fields)-1], "refs/heads/"))
	}
	slices.Sort(branches)
	return slices.Compact(branches), nil
}
