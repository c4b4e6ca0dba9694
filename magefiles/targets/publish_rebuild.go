package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/assemble"
	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/rebuild"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A verifiedImage is what publish:verify says of a tag.
type verifiedImage struct {
	publish.Verified
	Rebuilt []rebuild.Result `json:"rebuilt,omitempty"` // with --rebuild: one for each platform
}

// rebuilding says from where images are made again.
type rebuilding struct {
	mirror, base *string
	key          string
}

// rebuild makes each image behind a reference again, and compares.
func (a *app) rebuild(ctx context.Context, client *registry.Client, ref name.Reference, o rebuilding) (results []rebuild.Result, err error) {
	all, err := client.Images(ctx, ref)
	if err != nil {
		return nil, err
	}
	for _, published := range all {
		result, err := a.rebuildImage(ctx, client, ref.Context(), published, o)
		if err != nil {
			return results, fmt.Errorf("build %s for %s again: %w", ref, published.Platform, err)
		}
		results = append(results, result)
	}
	return results, nil
}

func (a *app) rebuildImage(ctx context.Context, client *registry.Client, repository name.Repository, published registry.PlatformImage, o rebuilding) (rebuild.Result, error) {
	img, err := client.Image(ctx, repository, published.Descriptor.Digest)
	if err != nil {
		return rebuild.Result{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return rebuild.Result{}, client.Explain(repository, err)
	}
	lock, err := attest.LockOf(ctx, client, repository, published.Descriptor.Digest, config)
	if err == nil && lock == nil {
		err = errors.New("no lockfile is attached, so that it is not known what it is made of")
	}
	if err != nil {
		return rebuild.Result{}, err
	}
	mirror := or(o.mirror, a.config.Platforms[published.Platform].Mirror)
	if mirror == "" {
		return rebuild.Result{}, errNoCache
	}
	var result rebuild.Result
	switch rebuild.Engine(config) {
	case "assemble":
		result, err = a.assembleAgain(ctx, img, config, published, lock, mirror, o)
	case "podman":
		result, err = a.comparePackages(ctx, img, lock, mirror, o.key)
	default:
		err = errors.New("its labels do not say how it was built: only what this program has built can be built again")
	}
	result.Platform = published.Platform
	return result, err
}

// comparePackages compares what podman has built with the build cache.
func (a *app) comparePackages(ctx context.Context, img v1.Image, text []byte, mirror, key string) (rebuild.Result, error) {
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		return rebuild.Result{}, err
	}
	cache, err := a.openCache(ctx, mirror, key)
	if err != nil {
		return rebuild.Result{}, err
	}
	return rebuild.Packages(ctx, img, lock, cache)
}

// assembleAgain assembles an image again, from the definition of this repository, the lockfile and base
// image of what is published, and the build cache.
func (a *app) assembleAgain(ctx context.Context, img v1.Image, config *v1.ConfigFile, published registry.PlatformImage, lock []byte, mirror string, o rebuilding) (rebuild.Result, error) {
	result := rebuild.Result{Engine: "assemble", Digest: published.Descriptor.Digest, Differences: []string{}}
	labels := config.Config.Labels
	defs, err := a.find(labels["org.opencontainers.image.title"], &published.Platform)
	if err != nil {
		return result, err
	}
	dir, err := os.MkdirTemp("", "spacktainers-rebuild-")
	if err != nil {
		return result, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "spack.lock")
	if err := os.WriteFile(path, lock, 0o600); err != nil {
		return result, err
	}
	base := strings.TrimSuffix(labels["org.opencontainers.image.base.name"]+"@"+labels["org.opencontainers.image.base.digest"], "@")
	model, err := a.describe(ctx, defs[0], assembleOptions{mirror: mirror, lock: &path, base: or(o.base, base), key: o.key})
	if err != nil {
		return result, err
	}
	cache, err := a.openCache(ctx, mirror, o.key)
	if err != nil {
		return result, err
	}
	tree := image.Tree(filepath.Join(dir, "images"))
	again, err := assemble.Builder{Cache: cache, Work: workDir, Fetch: parallel()}.Build(ctx, model, tree)
	if err != nil {
		return result, err
	}
	result.Again, result.Packages = again.Digest, len(again.Packages)
	if result.Same = again.Digest == result.Digest; result.Same {
		return result, nil
	}
	made, err := tree.Open(again.Record)
	if err != nil {
		return result, err
	}
	for _, change := range container.Compare(rebuild.Inputs(config), again.Inputs) {
		result.Differences = append(result.Differences, "made of something else now: "+change.String())
	}
	more, err := rebuild.Images(img, made)
	result.Differences = append(result.Differences, more...)
	return result, err
}

// showRebuilt writes what came of it, and returns an error where something differs.
func (a *app) showRebuilt(all []verifiedImage, quiet bool) error {
	var rows [][]string
	differ := 0
	for _, v := range all {
		for _, r := range v.Rebuilt {
			same := "yes, every byte"
			switch {
			case !r.Same:
				differ++
				same = "no"
			case r.Engine == "podman":
				same = "yes, every file"
			}
			rows = append(rows, []string{v.Ref, r.Platform, r.Engine, fmt.Sprint(r.Packages), same})
		}
	}
	var errs []error
	if len(rows) > 0 && !quiet {
		errs = append(errs, a.Table([]string{"reference", "platform", "built by", "packages", "the same again"}, rows))
		for _, v := range all {
			for _, r := range v.Rebuilt {
				for _, d := range r.Differences {
					errs = append(errs, a.Print("%s for %s: %s", v.Ref, r.Platform, d))
				}
			}
		}
	}
	if differ > 0 {
		errs = append(errs, fmt.Errorf("%d of %d images are not the same when they are built again", differ, len(rows)))
	}
	return errors.Join(errs...)
}
