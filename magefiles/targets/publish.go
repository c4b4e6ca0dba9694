package targets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// Publish is what becomes of images in registries.
type Publish mg.Namespace

// Publish sends the images of all containers from their layouts to the
// registries.
func (Bare) Publish(ctx context.Context,
	dryRun *bool, // --dry-run: say what would be sent, and send nothing
	json *bool, // for machines
	allowPartial *bool, // --allow-partial: publish also where a platform is not built
	force *bool, // replace versions that were published from another build
	release *bool, // at a shell: this is a release; CI says so itself
	registry *string, // a registry's prefix, such as 127.0.0.1:5000/ (default: all configured)
	environment *string, // only to the registries of an environment, such as staging
	branch *string, // that is published (default: CI's, or the checkout's)
	sign *string, // sign with this private key file, as cosign does; COSIGN_PASSWORD opens it
	documents *string, // none: attach nothing to the images, for registries that take no such things
) (err error) {
	defer finish(ctx, &err)
	return publishAll(ctx, nil, publishOptions{dryRun, json, allowPartial, force, release, registry, environment, branch, sign, documents})
}

// Container sends the images of one container, for all its platforms under one
// index, from their layouts to the registries. What is there is not sent again.
func (Publish) Container(ctx context.Context, name string,
	dryRun *bool, // --dry-run: say what would be sent, and send nothing
	json *bool, // for machines
	allowPartial *bool, // --allow-partial: publish also where a platform is not built
	force *bool, // replace a version that was published from another build
	release *bool, // at a shell: this is a release; CI says so itself
	registry *string, // a registry's prefix, such as 127.0.0.1:5000/ (default: all configured)
	environment *string, // only to the registries of an environment, such as staging
	branch *string, // that is published (default: CI's, or the checkout's)
	sign *string, // sign with this private key file, as cosign does; COSIGN_PASSWORD opens it
	documents *string, // none: attach nothing to the images, for registries that take no such things
) (err error) {
	defer finish(ctx, &err)
	return publishAll(ctx, &name, publishOptions{dryRun, json, allowPartial, force, release, registry, environment, branch, sign, documents})
}

type publishOptions struct {
	dryRun, json, allowPartial, force, release *bool
	registry, environment, branch, sign        *string
	documents                                  *string
}

// A publishedContainer is a line of the result.
type publishedContainer struct {
	Container string   `json:"name"`
	Version   string   `json:"version"`
	Ref       string   `json:"ref"`
	Digest    string   `json:"digest"`
	Tags      []string `json:"tags"` // written
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"` // of the blobs; what another repository has is not sent
	State     string   `json:"state"` // published, unchanged, would publish
}

func publishAll(ctx context.Context, container *string, o publishOptions) error {
	a, err := start()
	if err != nil {
		return err
	}
	if o.documents != nil && *o.documents != "none" {
		return wrongCall("--documents=%s: only none may be given: what is attached otherwise is all there is", *o.documents)
	}
	ref := a.gitRef(ctx, o.branch)
	to, err := a.destination(ctx, ref, o)
	if err != nil {
		return err
	}
	if len(to.registries) == 0 {
		return a.showPublished([]publishedContainer{}, or(o.json, false))
	}
	verifier, err := a.releaseVerifier()
	if err != nil {
		return err
	}
	signer, err := a.signer(o.sign)
	if err != nil {
		return err
	}
	releases, unready := a.releases(container, or(o.allowPartial, false))
	if len(releases) == 0 && unready != nil {
		return unready
	}
	origin := a.origin(ctx, ref)
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return err
	}
	defer end()
	results := []publishedContainer{}
	errs := []error{unready} // the others are published nevertheless
	for _, release := range releases {
		tags, err := to.tags(release.Version)
		if err != nil {
			return callError{err}
		}
		request := publish.Request{Tags: tags, Fixed: to.release, Branch: !to.release, Verifier: verifier, Force: or(o.force, false), Origin: origin, Signer: signer, NoDocuments: o.documents != nil}
		for _, registry := range to.registries {
			result, err := a.publishOne(ctx, client, registry, release, request, or(o.dryRun, false))
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("publish %s: %w", release.Name, err))
				continue
			}
			results = append(results, result)
		}
	}
	end()
	return errors.Join(append(errs, a.showPublished(results, or(o.json, false)))...)
}

func (a *app) publishOne(ctx context.Context, client *registry.Client, registry registry.Registry, release publish.Release, request publish.Request, dryRun bool) (publishedContainer, error) {
	result := publishedContainer{Container: release.Name, Version: release.Version, Tags: []string{}}
	repository, err := registry.Repository(release.Name)
	if err != nil {
		return result, err
	}
	began := time.Now()
	plan, err := publish.NewPlan(ctx, client, repository, release, request)
	if err != nil {
		return result, err
	}
	result.Ref, result.Digest = repository.Tag(request.Tags[0]).String(), plan.Digest.String()
	result.Blobs, result.Bytes = len(plan.Blobs), plan.Bytes()
	for _, tag := range plan.Tags {
		result.Tags = append(result.Tags, tag.Name)
	}
	if plan.Adopted {
		a.Log.Info("the same inputs are published with other bytes: those stay", "repository", repository, "digest", plan.Digest)
	}
	switch {
	case plan.Empty():
		result.State = "unchanged"
	case dryRun:
		result.State = "would publish"
	default:
		result.State = "published"
		if err := plan.Apply(ctx, client); err != nil {
			return result, err
		}
		a.Log.Info("published", "ref", result.Ref, "platforms", len(release.Images), "blobs", result.Blobs, "size", ui.Size(result.Bytes), "took", ui.Took(time.Since(began)), "next", fmt.Sprint("mage containers:show ", result.Ref))
	}
	return result, nil
}

func (a *app) showPublished(results []publishedContainer, asJSON bool) error {
	if asJSON {
		return a.JSON(results)
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, []string{r.Container, r.Ref, r.Digest, r.State, strings.Join(r.Tags, " "), fmt.Sprint(r.Blobs), ui.Size(r.Bytes)})
	}
	if len(rows) == 0 {
		return nil
	}
	return a.Table([]string{"container", "reference", "digest", "state", "tags written", "blobs", "size"}, rows)
}

// namedReleases are those of containers that are named; that one is not built is an error.
func (a *app) namedReleases(containers []string, built map[string]bool, platforms map[string][]string, partial bool) (releases []publish.Release, err error) {
	for _, container := range containers {
		name := a.definedName(strings.TrimSpace(container))
		if !built[name] && platforms[name] == nil {
			known := slices.AppendSeq(slices.Collect(maps.Keys(built)), maps.Keys(platforms))
			slices.Sort(known)
			return nil, unknown("container", container, slices.Compact(known))
		}
		release, err := publish.Read(images, name, platforms[name], partial)
		if err != nil {
			return nil, err
		}
		releases = append(releases, release)
	}
	return releases, nil
}

// releases gathers what is to be published: one container, or all that are
// defined and built. With the error for those that are not ready come the
// others.
func (a *app) releases(container *string, partial bool) ([]publish.Release, error) {
	platforms, err := definedPlatforms(definition.Environment)
	if err != nil {
		return nil, err
	}
	records, err := images.List()
	if err != nil {
		return nil, err
	}
	built := map[string]bool{}
	for _, record := range records {
		built[record.Name] = true
	}
	if container != nil {
		return a.namedReleases(list(*container), built, platforms, partial)
	}
	if len(records) == 0 { // as in a CI job on a day on which all is published
		a.Log.Warn(fmt.Sprintf("nothing is built below %s, so there is nothing to publish: mage containers builds what is not published yet", images))
	}
	var releases []publish.Release
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(built)) {
		if platforms[name] == nil {
			a.Log.Warn("left out: nothing defines it", "image", name)
			continue
		}
		release, err := publish.Read(images, name, platforms[name], partial)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		releases = append(releases, release)
	}
	return releases, errors.Join(errs...)
}

// definedPlatforms lists the platforms of each definition of a kind.
func definedPlatforms(kind definition.Kind) (map[string][]string, error) {
	defs, err := definition.Load(root)
	var mistakes definition.Errors
	if err != nil && !errors.As(err, &mistakes) && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	platforms := map[string][]string{}
	for _, d := range defs {
		if d.Kind == kind {
			platforms[d.Name] = append(platforms[d.Name], d.Platform)
		}
	}
	return platforms, nil
}

// definedName resolves a root spec's name to its container's. What is not
// defined keeps its name: it may be published nevertheless.
func (a *app) definedName(container string) string {
	defs, _ := definition.Load(root)
	if found, err := definition.Find(defs, container); err == nil {
		return found[0].Name
	}
	return container
}

// registries are those of the configuration, or the one that is given.
func (a *app) registries(prefix, environment *string) ([]registry.Registry, error) {
	if prefix != nil {
		if environment != nil {
			return nil, wrongCall("give --registry or --environment, not both")
		}
		return []registry.Registry{a.registryAt(*prefix)}, nil
	}
	if environment != nil {
		if err := a.checkEnvironment(*environment); err != nil {
			return nil, err
		}
	}
	var found []registry.Registry
	for _, r := range a.config.Registries {
		if environment == nil || registry.Registry(r).Serves(*environment) {
			found = append(found, registry.Registry(r))
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, fmt.Errorf("no registry: name one under registries in %s, or give --registry=PREFIX", ConfigFile)
}

// checkEnvironment refuses an environment that no registry names. Those that
// name none serve all environments, but not one that is a slip of the pen.
func (a *app) checkEnvironment(environment string) error {
	var known []string
	for _, r := range a.config.Registries {
		known = append(known, r.Environments...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	switch {
	case slices.Contains(known, environment):
		return nil
	case len(known) == 0:
		return wrongCall("environment %q: no registry in %s names environments: give them some, such as environments: [%s]", environment, ConfigFile, environment)
	}
	return unknown("environment", environment, known)
}

func (a *app) signer(file *string) (*attest.Signer, error) {
	if file == nil {
		return nil, nil
	}
	return attest.ReadSigner(*file, []byte(a.env.KeyPass))
}
