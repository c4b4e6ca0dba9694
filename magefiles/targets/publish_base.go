package targets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/ui"
)

// publishedBase returns what asks a registry for base images; nil where none is to be asked. One that
// does not answer is said once, and base images are built here.
func (a *app) publishedBase(prefix *string) func(context.Context, podman.Base, string) (v1.Image, error) {
	r, ok := a.releaseRegistry(prefix)
	if !ok {
		return nil
	}
	var once sync.Once
	return func(ctx context.Context, b podman.Base, key string) (v1.Image, error) {
		img, err := a.findBase(ctx, r, b, key)
		if err == nil || ctx.Err() != nil {
			return img, ctx.Err()
		}
		once.Do(func() {
			a.Log.Warn("base images are not taken from the registry: --registry=none asks none", "registry", r.Prefix, "why", err)
		})
		return nil, nil
	}
}

func (a *app) findBase(ctx context.Context, in registry.Registry, b podman.Base, key string) (v1.Image, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	verifier, err := a.releaseVerifier()
	if err != nil {
		return nil, err
	}
	repository, err := in.Repository(b.Name)
	if err != nil {
		return nil, err
	}
	return publish.FindBase(ctx, client, repository, b.Platform, key, verifier)
}

// A publishedBaseImage is a line of the result of publish:base.
type publishedBaseImage struct {
	Name   string   `json:"name"`   // builder, runtime, singularitah or tool
	Ref    string   `json:"ref"`    // by which it is pulled
	Digest string   `json:"digest"` // of the index of all platforms; empty where a dry run has no image
	Tags   []string `json:"tags"`   // written
	Bytes  int64    `json:"bytes"`  // of the blobs that were sent
	State  string   `json:"state"`  // published, unchanged, would publish, would build and publish
}

// Base sends base images to the registries, so that CI, other machines and people
// start from them: builder and runtime, or NAME. They are built, or taken from the
// registry, as base does. Each platform's image has the tag of its build key; latest
// is an index of those that are there for all platforms. The image tool, for jobs of CI,
// is what release --image has made, for all platforms at once.
func (Publish) Base(ctx context.Context,
	name *string, // builder, runtime, singularitah or tool (default: builder and runtime); may stand without its flag
	platform *string, // linux/amd64 or linux/arm64 (default: this machine's; of tool: all that were made)
	dryRun *bool, // --dry-run: say what would be built and sent, and do neither
	json *bool, // for machines
	spackRef *string, // --spack-ref: branch, tag or commit of Spack for the builder (default: the configured one)
	release *bool, // at a shell: this is a release; CI says so itself
	registry *string, // a registry's prefix, such as 127.0.0.1:5000/ (default: all configured)
	environment *string, // only to the registries of an environment, such as staging
	sign *string, // sign with this private key file, as cosign does; COSIGN_PASSWORD opens it
) (err error) {
	defer finish(ctx, &err)
	a, err := startWith(spackRef)
	if err != nil {
		return err
	}
	names := []string{podman.Builder, podman.Runtime}
	if name != nil {
		if names = []string{*name}; !slices.Contains(publishedBases, *name) {
			return unknown("base image", *name, publishedBases)
		}
	}
	to, err := a.destination(ctx, a.gitRef(ctx, nil), publishOptions{release: release, registry: registry, environment: environment})
	if err != nil {
		return err
	}
	if !to.release {
		if len(to.registries) == 0 {
			return nil // it has been said why
		}
		return errors.New("base images are published by releases only: give --release at a shell, or run it on CI's protected default branch")
	}
	if err := os.MkdirAll(workDir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(workDir, "bases-*.part")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bases, err := a.basesToPublish(ctx, names, platform, registry, dir, or(dryRun, false))
	if err != nil {
		return err
	}
	results, err := a.publishBases(ctx, to, bases, sign, or(dryRun, false))
	if or(json, false) {
		return errors.Join(err, a.JSON(results))
	}
	var rows [][]string
	for _, r := range results {
		rows = append(rows, []string{r.Name, r.Ref, r.Digest, r.State, ui.Size(r.Bytes)})
	}
	return errors.Join(err, a.Table([]string{"base image", "reference", "digest", "state", "size"}, rows))
}

// publishedBases are those that publish:base knows.
var publishedBases = append(slices.Clone(podman.Bases), tool)

// A baseToPublish is a base image for all platforms.
type baseToPublish struct {
	name      string
	platforms []publish.Base
	missing   bool // a dry run has no image of it
}

// basesToPublish makes what is to be published, where it is not there. Images are written to a
// folder as they are sent.
func (a *app) basesToPublish(ctx context.Context, names []string, platform, registry *string, dir string, dry bool) (all []baseToPublish, err error) {
	if names[0] == tool {
		platforms := list(or(platform, strings.Join(slices.Collect(maps.Keys(defaultConfig().Platforms)), ",")))
		images, err := toolImages(releaseDir, platforms)
		return []baseToPublish{{name: tool, platforms: images}}, err
	}
	plans, err := a.planBases(ctx, names, or(platform, native), registry, false)
	if err != nil {
		return nil, err
	}
	local, bases, err := a.basesOf(ctx, plans, dry)
	if err != nil {
		return nil, err
	}
	for _, b := range bases {
		platforms, err := a.platformsOfBase(ctx, local, b, dir)
		if err != nil {
			return nil, err
		}
		all = append(all, baseToPublish{b.Name, platforms, b.built.ID == "" && b.published == nil})
	}
	return all, nil
}

// basesOf are the base images of plans, which a dry run leaves where they are.
func (a *app) basesOf(ctx context.Context, plans []podman.BasePlan, dry bool) (podman.Podman, []ensuredBase, error) {
	if !dry {
		return a.applyBases(ctx, plans)
	}
	var bases []ensuredBase
	for _, p := range plans {
		b := ensuredBase{Base: p.Base, published: p.ToTake, built: podman.BuiltBase{Key: p.Key}}
		if !p.ToBuild && p.ToTake == nil {
			b.built = p.Here
		}
		bases = append(bases, b)
	}
	local, err := a.ownPodman()
	return local, bases, err
}

func (a *app) publishBases(ctx context.Context, to destination, bases []baseToPublish, sign *string, dry bool) ([]publishedBaseImage, error) {
	results := []publishedBaseImage{}
	signer, err := a.signer(sign)
	if err != nil {
		return results, err
	}
	verifier, err := a.releaseVerifier()
	if err != nil {
		return results, err
	}
	client, end, err := a.registryClient(ctx)
	if err != nil {
		return results, err
	}
	defer end()
	for _, b := range bases {
		for _, r := range to.registries {
			repository, err := r.Repository(b.name)
			if err != nil {
				return results, err
			}
			if b.missing {
				results = append(results, publishedBaseImage{Name: b.name, Ref: repository.Tag(publish.Latest).String(), Tags: []string{}, State: "would build and publish"})
				continue
			}
			result, err := publishBase(ctx, client, func() (publish.Plan, error) {
				return publish.NewBasePlan(ctx, client, repository, b.platforms, signer, verifier)
			}, dry)
			result.Name = b.name
			if err != nil {
				return results, fmt.Errorf("publish base image %s: %w", b.name, err)
			}
			results = append(results, result)
		}
	}
	return results, nil
}

// platformsOfBase describes a base image for all platforms: the one that is here, which is opened
// when it is to be sent, and those that other machines publish, by their build keys.
func (a *app) platformsOfBase(ctx context.Context, local podman.Podman, b ensuredBase, dir string) ([]publish.Base, error) {
	var all []publish.Base
	for _, platform := range slices.Sorted(maps.Keys(a.config.Platforms)) {
		if platform == b.Platform {
			open := sync.OnceValues(func() (v1.Image, error) {
				if b.published != nil {
					return b.published, nil
				}
				return local.Save(ctx, b.built.ID, filepath.Join(dir, b.Name+".tar"))
			})
			all = append(all, publish.Base{Platform: platform, Key: b.built.Key, Image: open})
			continue
		}
		for _, other := range a.bases(platform, nil) {
			if other.Name != b.Name {
				continue
			}
			_, key, err := other.Pin(ctx, local)
			if err != nil {
				return nil, err
			}
			all = append(all, publish.Base{Platform: platform, Key: key})
		}
	}
	return all, nil
}

// rounds is how often the index of all platforms is looked at again, since other machines may
// publish theirs meanwhile.
const rounds = 5

func publishBase(ctx context.Context, client *registry.Client, plan func() (publish.Plan, error), dry bool) (publishedBaseImage, error) {
	result := publishedBaseImage{Tags: []string{}, State: "unchanged"}
	for range rounds {
		p, err := plan()
		if err != nil {
			return result, err
		}
		result.Ref, result.Digest = p.Repository.Tag(publish.Latest).String(), p.Digest.String()
		if p.Empty() {
			return result, nil
		}
		for _, tag := range p.Tags {
			result.Tags = append(result.Tags, tag.Name)
		}
		result.Bytes += p.Bytes()
		if dry {
			result.State = "would publish"
			return result, nil
		}
		if err := p.Apply(ctx, client); err != nil {
			return result, err
		}
		result.State = "published"
	}
	return result, fmt.Errorf("%s: other machines keep changing %s: run it again", result.Ref, publish.Latest)
}
