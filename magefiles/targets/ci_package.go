package targets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/podman"
)

// Package builds packages of lockfiles in the builder image, with what they need,
// and puts them into the build cache. HASHES are theirs, whole or from the
// beginning, by commas. What a build cache has already is not built. No index is
// written: janitor:reindex does that once, when all packages are there.
func (Ci) Package(ctx context.Context, hashes string,
	container *string, // whose lockfiles have them, by commas (default: all that have a lockfile beside their definition)
	lock *string, // lockfiles that have them, by commas, instead of those of containers
	platform *string, // linux/amd64 or linux/arm64 (default: all; with --lock: this machine's)
	mirror *string, // build cache (default: the platform's)
	registry *string, // prefix to ask for published lockfiles of named containers (default: the first configured one; none: ask nobody)
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	release *bool, // at a shell: packages go, signed, where releases are read (CI: on the protected default branch)
	gitCredentials *bool, // --git-credentials: read the private hosts of the configuration also where this is no release
	isolated *bool, // refuse to build in a network that is not the build's own (default: if possible)
	dryRun *bool, // --dry-run: say what would be built, and build nothing
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	o := podmanOptions{mirror: mirror, registry: registry, release: release, git: or(gitCredentials, false), isolated: isolated, digests: true}
	defs, err := a.withPackages(container, lock, platform, &o)
	if err != nil {
		return err
	}
	scheduler, containers, err := a.scheduler(ctx, defs, o)
	if err != nil {
		return err
	}
	defer scheduler.Close()
	scheduler.Announce = a.announceBuild
	progress := a.newProgress(ctx)
	scheduler.Watch = progress.event
	results, err := a.buildPackages(ctx, scheduler, containers, list(hashes), or(dryRun, false))
	progress.Close()
	if results == nil {
		return err
	}
	return errors.Join(a.showPackages(results, or(json, false)), err)
}

// buildPackages finds packages in the lockfiles of containers, and builds what is missing.
func (a *app) buildPackages(ctx context.Context, s *podman.Scheduler, containers []podman.Container, hashes []string, dry bool) ([]podman.PackageResult, error) {
	containers, errs := s.Lock(ctx, containers)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	packages, err := podman.FindPackages(containers, hashes)
	if err != nil {
		return nil, callError{err}
	}
	for _, p := range packages {
		if p.Container.Offer.Push == nil && !dry {
			return nil, noPlaceForPackages(p.Container.Platform)
		}
	}
	return s.BuildPackages(ctx, packages, dry)
}

// noPlaceForPackages says why packages would be built for nothing, and what to do.
func noPlaceForPackages(platform string) error {
	return fmt.Errorf("no build cache takes packages for %s here: releases push to its mirror in spacktainers.yaml (CI's protected default branch, or --release at a shell), branches to branches: mirror", platform)
}

// withPackages returns the definitions in whose lockfiles packages are looked for, or puts the
// lockfiles themselves into the options.
func (a *app) withPackages(names, locks, platform *string, o *podmanOptions) (defs []definition.Definition, err error) {
	switch {
	case names != nil && locks != nil:
		return nil, wrongCall("--container and --lock both say where packages are looked for: choose one")
	case locks != nil:
		o.lockfiles, err = lockContainers(list(*locks), or(platform, native))
		return nil, err
	case names == nil:
		all, err := a.environments(platform)
		for _, d := range all {
			if d.LockPath != "" {
				defs = append(defs, d)
			}
		}
		if err == nil && len(defs) == 0 {
			err = wrongCall("no definition has a lockfile beside it: name containers by --container, or lockfiles by --lock")
		}
		return defs, err
	}
	for _, name := range list(*names) {
		found, err := a.find(name, platform)
		if err != nil {
			return nil, err
		}
		defs = append(defs, found...)
	}
	return defs, nil
}

// lockContainers makes an environment of each lockfile, for which it is all that is known.
func lockContainers(paths []string, platform string) ([]podman.Container, error) {
	parsed, err := parsePlatform(platform)
	if err != nil {
		return nil, err
	}
	var containers []podman.Container
	for i, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("lockfile: %w", err)
		}
		c := podman.Container{Container: container.Container{Name: fmt.Sprintf("lockfile-%d", i+1), Platform: parsed.String()}}
		if err := c.SetLock(text); err != nil {
			return nil, fmt.Errorf("lockfile %s: %w", path, err)
		}
		specs := []string{}
		for _, root := range c.Lock.Roots {
			specs = append(specs, root.Spec)
		}
		c.Spack, err = json.Marshal(map[string]any{"spack": map[string]any{"specs": specs, "view": false}}) // JSON is YAML
		if err != nil {
			return nil, err
		}
		containers = append(containers, c)
	}
	return containers, nil
}

func (a *app) showPackages(results []podman.PackageResult, asJSON bool) error {
	if asJSON {
		return a.JSON(append([]podman.PackageResult{}, results...))
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, []string{r.Package, string(r.Hash), r.Platform, r.Container, r.Host, string(r.Outcome)})
	}
	return a.Table([]string{"package", "hash", "platform", "container", "host", "result"}, rows)
}
