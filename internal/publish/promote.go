package publish

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Promotion is what one repository lacks of what another has under a tag.
type Promotion struct {
	Plan
	From name.Reference

	closure closure
}

// NewPromotion looks what a repository lacks of everything that a tag of
// another leads to: the index, its images, what is attached to them and their
// signatures. All of it must be there on the source's side, and with a verifier
// signed: who may write there would else write to the other. The digests stay
// the same.
func NewPromotion(ctx context.Context, c *registry.Client, from name.Tag, to name.Repository, force bool, verifier *attest.Verifier) (Promotion, error) {
	top, err := c.Head(ctx, from)
	if err != nil {
		return Promotion{}, err
	}
	if top == nil {
		return Promotion{}, fmt.Errorf("%s does not exist: publish it there first", from)
	}
	if verifier != nil {
		if err := attest.CheckSignature(ctx, c, from.Context(), top.Digest, verifier); err != nil {
			return Promotion{}, err
		}
	}
	p := Promotion{From: from, Plan: Plan{Repository: to, Digest: top.Digest}}
	if from.RegistryStr() == to.RegistryStr() {
		p.base = from.Context()
	}
	walk := walker{client: c, repository: from.Context(), seen: map[v1.Hash]bool{}}
	if err := walk.visit(ctx, top.Digest); err != nil {
		return p, err
	}
	p.closure = walk.closure
	if err := planCopy(ctx, c, &p); err != nil {
		return p, err
	}
	wanted, err := promotedTags(ctx, c, from, walk)
	if err != nil {
		return p, err
	}
	for _, tag := range wanted {
		there, err := c.HeadForPush(ctx, to.Tag(tag.Name))
		if err != nil {
			return p, err
		}
		if there != nil {
			tag.Was = there.Digest
		}
		if tag.Was == tag.target.Digest || isKeyTag(tag.Name) && there != nil && !force {
			continue
		}
		if there != nil && !force && tag.Name != Latest && !registry.IsHelperTag(tag.Name) {
			builds, err := buildsOf(ctx, c, from)
			if err != nil {
				return p, err
			}
			if err := checkVersion(ctx, c, to.Tag(tag.Name), builds); err != nil {
				return p, err
			}
		}
		p.Tags = append(p.Tags, tag)
	}
	return p, nil
}

// planCopy finds the blobs and manifests of the closure that are missing.
func planCopy(ctx context.Context, c *registry.Client, p *Promotion) error {
	if err := mustHaveBlobs(ctx, c, p.From.Context(), p.closure.blobs); err != nil {
		return err
	}
	var layers []v1.Layer
	for _, d := range p.closure.blobs {
		layer, err := c.Layer(ctx, p.From.Context().Digest(d.Digest.String()))
		if err != nil {
			return c.Explain(p.From.Context(), err)
		}
		layers = append(layers, described{layer, d})
	}
	var err error
	if p.Blobs, err = c.Missing(ctx, p.Repository, layers); err != nil {
		return err
	}
	for _, m := range p.closure.manifests {
		there, err := c.HeadForPush(ctx, p.Repository.Digest(m.Digest.String()))
		if err != nil {
			return err
		}
		if there == nil {
			p.manifests = append(p.manifests, m)
		}
	}
	return nil
}

// described is a layer of a registry whose size is known without asking.
type described struct {
	v1.Layer
	d v1.Descriptor
}

func (d described) Size() (int64, error)                { return d.d.Size, nil }
func (d described) Digest() (v1.Hash, error)            { return d.d.Digest, nil }
func (d described) MediaType() (types.MediaType, error) { return d.d.MediaType, nil }

// Apply carries a promotion out and makes sure that all of it has arrived.
func (p Promotion) Apply(ctx context.Context, c *registry.Client) error {
	if err := p.Plan.Apply(ctx, c); err != nil {
		return err
	}
	if err := mustHaveBlobs(ctx, c, p.Repository, p.closure.blobs); err != nil {
		return err
	}
	for _, m := range p.closure.manifests {
		if err := mustName(ctx, c, p.Repository.Digest(m.Digest.String()), m.Digest); err != nil {
			return err
		}
	}
	for _, tag := range p.Tags {
		if err := mustName(ctx, c, p.Repository.Tag(tag.Name), tag.target.Digest); err != nil {
			return err
		}
	}
	return nil
}

func mustName(ctx context.Context, c *registry.Client, ref name.Reference, digest v1.Hash) error {
	found, err := c.Head(ctx, ref)
	if err != nil {
		return err
	}
	if found == nil || found.Digest != digest {
		return fmt.Errorf("%w: %s does not name %s, which was written there: is another process publishing?", registry.ErrDamaged, ref, digest)
	}
	return nil
}

func mustHaveBlobs(ctx context.Context, c *registry.Client, repository name.Repository, blobs []v1.Descriptor) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.Parallel())
	for _, d := range blobs {
		g.Go(func() error {
			there, err := c.HasBlob(gctx, repository, d.Digest)
			if err == nil && !there {
				err = fmt.Errorf("%w: %s has no blob %s, which a manifest there names", registry.ErrDamaged, repository, d.Digest)
			}
			return err
		})
	}
	return g.Wait()
}

// promotedTags are the tags that go along: the signatures', the build keys',
// the version if latest is promoted, and the tag itself last.
func promotedTags(ctx context.Context, c *registry.Client, from name.Tag, walk walker) ([]Tag, error) {
	top := walk.closure.manifests[slices.IndexFunc(walk.closure.manifests, func(m registry.Manifest) bool { return m.Digest == walk.root })]
	wanted := walk.closure.tags
	names := []string{from.TagStr()}
	if top.Type.IsIndex() {
		index, err := v1.ParseIndexManifest(bytes.NewReader(top.Raw))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		for _, child := range index.Manifests {
			if key := child.Annotations[image.LabelBuildKey]; key != "" && registry.IsPlatformImage(child) {
				i := slices.IndexFunc(walk.closure.manifests, func(m registry.Manifest) bool { return m.Digest == child.Digest })
				wanted = append(wanted, Tag{Name: keyTag(key), target: walk.closure.manifests[i]})
			}
		}
		if key := index.Annotations[image.LabelBuildKey]; key != "" {
			wanted = append(wanted, Tag{Name: keyTag(key), target: top})
		}
		if version := index.Annotations["org.opencontainers.image.version"]; version != "" && from.TagStr() == Latest {
			names = []string{branch.Version(version), Latest}
		}
	}
	for _, n := range names {
		wanted = append(wanted, Tag{Name: n, target: top})
	}
	return wanted, nil
}

// buildsOf describes what is published under a reference as builds.
func buildsOf(ctx context.Context, c *registry.Client, ref name.Reference) ([]build, error) {
	images, err := c.Images(ctx, ref)
	if err != nil {
		return nil, err
	}
	var builds []build
	for _, img := range images {
		builds = append(builds, build{img.Platform, img.Key, func() ([]image.Input, error) { return attest.Inputs(ctx, c, ref.Context(), img) }})
	}
	return builds, nil
}

// A closure is everything that a digest leads to, in an order in which it can
// be written: what is named before who names it, subjects before what is
// attached to them.
type closure struct {
	manifests []registry.Manifest
	blobs     []v1.Descriptor
	tags      []Tag // of cosign's
}

type walker struct {
	client     *registry.Client
	repository name.Repository
	root       v1.Hash
	seen       map[v1.Hash]bool
	closure    closure
}

func (w *walker) visit(ctx context.Context, digest v1.Hash) error {
	if w.seen[digest] {
		return nil
	}
	w.seen[digest] = true
	if w.root == (v1.Hash{}) {
		w.root = digest
	}
	m, err := w.content(ctx, w.repository.Digest(digest.String()), digest)
	if err != nil {
		return err
	}
	w.closure.manifests = append(w.closure.manifests, m)
	attached, err := w.client.Referrers(ctx, w.repository.Digest(digest.String()))
	if err != nil {
		return err
	}
	for _, d := range attached {
		if err := w.visit(ctx, d.Digest); err != nil {
			return err
		}
	}
	for _, suffix := range []string{".sig", ".att", ".sbom"} {
		if err := w.visitTag(ctx, w.repository.Tag(digest.Algorithm+"-"+digest.Hex+suffix)); err != nil {
			return err
		}
	}
	return nil
}

// visitTag takes along what cosign keeps under a tag of its own.
func (w *walker) visitTag(ctx context.Context, tag name.Tag) error {
	found, err := w.client.Head(ctx, tag)
	if found == nil || err != nil {
		return err
	}
	m, err := w.content(ctx, tag, found.Digest)
	if err != nil {
		return err
	}
	w.closure.tags = append(w.closure.tags, Tag{Name: tag.TagStr(), target: m})
	return nil
}

// content reads a manifest, and visits what it names.
func (w *walker) content(ctx context.Context, ref name.Reference, digest v1.Hash) (registry.Manifest, error) {
	found, err := w.client.Get(ctx, ref)
	if err != nil {
		return registry.Manifest{}, err
	}
	if found == nil || found.Digest != digest {
		return registry.Manifest{}, fmt.Errorf("%w: %s is named, but not there", registry.ErrDamaged, ref)
	}
	if found.MediaType.IsIndex() {
		children, err := registry.Children(found.Manifest)
		if err != nil {
			return registry.Manifest{}, fmt.Errorf("%s: %w", ref, err)
		}
		for _, child := range children {
			if err := w.visit(ctx, child.Digest); err != nil {
				return registry.Manifest{}, err
			}
		}
		return registry.RawManifest(found.MediaType, found.Manifest), nil
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Manifest))
	if err != nil {
		return registry.Manifest{}, fmt.Errorf("%s: %w", ref, err)
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !w.seen[d.Digest] && d.MediaType.IsDistributable() {
			w.seen[d.Digest] = true
			w.closure.blobs = append(w.closure.blobs, d)
		}
	}
	return registry.RawManifest(found.MediaType, found.Manifest), nil
}
