// Package inspect tells what published images are made of: packages, sizes,
// lockfiles, and what changes from one to another. It only reads.
package inspect

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Shown is what a tag leads to.
type Shown struct {
	Ref      string       `json:"ref"`
	Digest   v1.Hash      `json:"digest"`
	Version  string       `json:"version,omitempty"`
	BuildKey string       `json:"build_key,omitempty"`
	Images   []ShownImage `json:"images"`
}

// A ShownImage is the image for one platform.
type ShownImage struct {
	Platform string      `json:"platform"`
	Digest   v1.Hash     `json:"digest"`
	BuildKey string      `json:"build_key,omitempty"`
	Size     int64       `json:"bytes"` // to download
	Layers   int         `json:"layers"`
	Base     string      `json:"base,omitempty"`
	Roots    []string    `json:"roots"`
	Specs    []ShownSpec `json:"specs"`
	Attached []string    `json:"attached"` // artifact types
	Signed   bool        `json:"signed"`   // by anybody; publish:verify checks
	Source   string      `json:"source,omitempty"`
	Commit   string      `json:"commit,omitempty"`
	Builder  string      `json:"builder,omitempty"`
	Time     time.Time   `json:"published,omitzero"`
}

// A ShownSpec is a package of an image.
type ShownSpec struct {
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Variants string          `json:"variants,omitempty"`
	Hash     buildcache.Hash `json:"hash"`
	External bool            `json:"external,omitempty"`
}

// Show gathers what is known of a published tag or digest: from its manifests,
// and from what is attached to them.
func Show(ctx context.Context, c *registry.Client, ref name.Reference) (Shown, error) {
	shown := Shown{Ref: ref.String(), Images: []ShownImage{}}
	top, err := c.Get(ctx, ref)
	if err != nil {
		return shown, err
	}
	if top == nil {
		return shown, fmt.Errorf("%s does not exist", ref)
	}
	shown.Digest = top.Digest
	images, err := c.Images(ctx, ref.Context().Digest(top.Digest.String()))
	if err != nil {
		return shown, err
	}
	for _, img := range images {
		one, config, err := showImage(ctx, c, ref.Context(), img)
		if err != nil {
			return shown, err
		}
		shown.Images = append(shown.Images, one)
		shown.Version = cmp.Or(shown.Version, config.Config.Labels["org.opencontainers.image.version"])
	}
	if top.MediaType.IsIndex() {
		if index, err := v1.ParseIndexManifest(bytes.NewReader(top.Manifest)); err == nil {
			shown.BuildKey = index.Annotations[image.LabelBuildKey]
			shown.Version = cmp.Or(index.Annotations["org.opencontainers.image.version"], shown.Version)
		}
	}
	return shown, nil
}

func showImage(ctx context.Context, c *registry.Client, repository name.Repository, published registry.PlatformImage) (ShownImage, *v1.ConfigFile, error) {
	shown := ShownImage{Platform: published.Platform, Digest: published.Descriptor.Digest, Roots: []string{}, Specs: []ShownSpec{}, Attached: []string{}}
	img, err := c.Image(ctx, repository, published.Descriptor.Digest)
	if err != nil {
		return shown, nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return shown, nil, fmt.Errorf("%s@%s: %w", repository, published.Descriptor.Digest, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return shown, nil, c.Explain(repository, err)
	}
	shown.Layers = len(m.Layers)
	for _, d := range m.Layers {
		shown.Size += d.Size
	}
	labels := config.Config.Labels
	shown.BuildKey = cmp.Or(published.Key, labels[image.LabelBuildKey])
	if base := labels["org.opencontainers.image.base.name"]; base != "" {
		shown.Base = base
		if digest := labels["org.opencontainers.image.base.digest"]; digest != "" { // scratch has none
			shown.Base += "@" + digest
		}
	}
	shown.Source, shown.Commit = labels["org.opencontainers.image.source"], labels["org.opencontainers.image.revision"]
	return shown, config, showAttached(ctx, c, repository, &shown)
}

// showAttached adds what the documents say that are attached to an image.
func showAttached(ctx context.Context, c *registry.Client, repository name.Repository, shown *ShownImage) error {
	attached, err := c.Referrers(ctx, repository.Digest(shown.Digest.String()))
	if err != nil {
		return err
	}
	for _, d := range attached {
		shown.Attached = append(shown.Attached, d.ArtifactType)
	}
	slices.Sort(shown.Attached)
	signature, err := c.Head(ctx, attest.SignatureTag(repository, shown.Digest))
	if err != nil {
		return err
	}
	shown.Signed = signature != nil || slices.ContainsFunc(attached, attest.IsSignature)
	text, err := c.Document(ctx, repository, attached, attest.TypeProvenance)
	if err != nil {
		return err
	}
	if p, err := attest.ParseProvenance(text); text != nil && err == nil {
		o := p.Origin()
		shown.Source, shown.Commit = cmp.Or(o.Source, shown.Source), cmp.Or(o.Commit, shown.Commit)
		shown.Builder, shown.Time = o.Builder, o.Time
	}
	text, err = attest.Lock(ctx, c, repository, shown.Digest)
	if text == nil || err != nil {
		return err
	}
	lock, err := buildcache.ParseLockfile(text)
	if err != nil {
		return fmt.Errorf("attached to %s@%s: %w", repository, shown.Digest, err)
	}
	for _, root := range lock.Roots {
		shown.Roots = append(shown.Roots, root.Spec)
	}
	shown.Specs = runtimeSpecs(lock)
	return nil
}

// runtimeSpecs are the packages that an image made from a lockfile holds.
func runtimeSpecs(lock *buildcache.Lockfile) []ShownSpec {
	var roots []buildcache.Hash
	for _, root := range lock.Roots {
		roots = append(roots, root.Hash)
	}
	specs := []ShownSpec{}
	for _, spec := range lock.Closure(roots, buildcache.Runtime) {
		specs = append(specs, ShownSpec{spec.Name, spec.Version, attest.Variants(spec), spec.Hash, spec.External})
	}
	slices.SortFunc(specs, func(a, b ShownSpec) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Hash, b.Hash))
	})
	return specs
}
