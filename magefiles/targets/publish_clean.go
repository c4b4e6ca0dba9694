package targets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Clean removes from the registries the tags of branches that are gone, and
// what nothing leads to any more. With NAME it looks at that container alone.
func (Publish) Clean(ctx context.Context,
	name *string, // the container to clean up (default: all); may stand without its flag
	dryRun *bool, // --dry-run: say what would go, and remove nothing
	branches *string, // file with the branches that exist, one a line (default: ask git)
	git *string, // repository to ask for its branches (default: origin)
	grace *string, // manifests younger than this stay, such as 48h (default: the janitor's)
	registry *string, // a registry's prefix (default: all configured)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	retention := publish.Retention{Grace: time.Duration(a.config.Janitor.Grace), Now: time.Now()}
	if grace != nil {
		if retention.Grace, err = parseDuration(*grace); err != nil {
			return callError{fmt.Errorf("--grace: %w", err)}
		}
	}
	if retention.Branches, err = liveBranches(ctx, or(branches, ""), or(git, "origin")); err != nil {
		return fmt.Errorf("which branches exist: %w", err)
	}
	registries, err := a.registries(registry, nil)
	if err != nil {
		return err
	}
	branchesOwn := a.config.Branches.Registry
	if registry == nil && branchesOwn != "" {
		registries = append(registries, a.registryAt(branchesOwn))
	}
	containers, err := a.containersToClean(name)
	if err != nil {
		return err
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	plans := []publish.Cleaning{}
	var errs []error
	for _, registry := range registries {
		for _, container := range containers {
			repository, err := registry.Repository(container)
			if err != nil {
				return err
			}
			retention.Scoped = branchesOwn != "" && registry.Prefix == branchesOwn
			done := a.busy(ctx, repository.String(), "reading tags and images")
			plan, err := publish.NewCleaning(ctx, client, repository, retention)
			done()
			if neverPublished(err) && name == nil {
				a.Log.Info("never published", "repository", repository)
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("clean: %w", err))
				continue
			}
			plans = append(plans, plan)
			if !or(dryRun, false) {
				errs = append(errs, plan.Apply(ctx, client))
			}
		}
	}
	return errors.Join(append(errs, a.showCleanings(plans, or(dryRun, false), or(json, false)))...)
}

// neverPublished reports whether an error is that a repository does not exist.
func neverPublished(err error) bool { return registry.IsNotFound(err) }

func (a *app) containersToClean(name *string) ([]string, error) {
	if name != nil {
		return []string{a.definedName(*name)}, nil
	}
	platforms, err := definedPlatforms(definition.Environment)
	if err != nil {
		return nil, err
	}
	if len(platforms) == 0 {
		return nil, errors.New("no container is defined: give the NAME of what to clean up")
	}
	return slices.Sorted(maps.Keys(platforms)), nil
}

func (a *app) showCleanings(plans []publish.Cleaning, dryRun, asJSON bool) error {
	if asJSON {
		return a.JSON(plans)
	}
	verb := "removed"
	if dryRun {
		verb = "would remove"
	}
	var rows [][]string
	removed := 0
	for _, plan := range plans {
		for verb, list := range map[string][]publish.Removal{verb: plan.Remove, "kept": plan.Keep} {
			for _, r := range list {
				rows = append(rows, []string{plan.Name, verb, r.Tag, r.Digest.String(), r.Reason})
			}
		}
		removed += len(plan.Remove)
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return slices.Compare(a[:2], b[:2]) })
	if len(rows) > 0 {
		if err := a.Table([]string{"repository", "what", "tag", "digest", "because"}, rows); err != nil {
			return err
		}
	}
	a.Log.Info("cleaned up", "repositories", len(plans), verb, removed)
	return nil
}
