package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
)

// A Promotion is what one repository lacks of what another has under a tag.
type Promotion struct {
	Plan
	From name.Reference

	closure closure
}

// PlanPromotion looks what a repository lacks of everything that a tag of
// another leads to: the index, its images, what is attached to them and their
// signatures. All of it must be there on the source's side. The digests stay
// the same.
func (c *Client) PlanPromotion(ctx context.Context, from name.Tag, to name.Repository, force bool) (Promotion, error) {
	top, err := c.head(ctx, from)
	if err != nil {
		return Promotion{}, err
	}
	if top == nil {
		return Promotion{}, fmt.Errorf("%s does not exist: publish it there first", from)
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
	if err := c.planCopy(ctx, &p); err != nil {
		return p, err
	}
	wanted, err := c.promotedTags(ctx, from, walk)
	if err != nil {
		return p, err
	}
	for _, tag := range wanted {
		there, err := c.headForPush(ctx, to.Tag(tag.Name))
		if err != nil {
			return p, err
		}
		if there != nil {
			tag.Was = there.Digest
		}
		if tag.Was == tag.target.digest || isKeyTag(tag.Name) && there != nil && !force {
			continue
		}
		if there != nil && !force && tag.Name != Latest && !isHelperTag(tag.Name) {
			builds, err := c.buildsOf(ctx, from)
			if err != nil {
				return p, err
			}
			if err := c.checkVersion(ctx, to.Tag(tag.Name), builds); err != nil {
				return p, err
			}
		}
		p.Tags = append(p.Tags, tag)
	}
	return p, nil
}

// planCopy finds the blobs and manifests of the closure that are missing.
func (c *Client) planCopy(ctx context.Context, p *Promotion) error {
	if err := c.mustHaveBlobs(ctx, p.From.Context(), p.closure.blobs); err != nil {
		return err
	}
	var layers []v1.Layer
	for _, d := range p.closure.blobs {
		layer, err := c.puller.Layer(ctx, p.From.Context().Digest(d.Digest.String()))
		if err != nil {
			return c.explain(p.From.Context().RegistryStr(), err)
		}
		layers = append(layers, described{layer, d})
	}
	var err error
	if p.Blobs, err = c.missing(ctx, p.Repository, layers); err != nil {
		return err
	}
	for _, m := range p.closure.manifests {
		there, err := c.headForPush(ctx, p.Repository.Digest(m.digest.String()))
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

// Promote carries a promotion out and makes sure that all of it has arrived.
func (c *Client) Promote(ctx context.Context, p Promotion) error {
	if err := c.Execute(ctx, p.Plan); err != nil {
		return err
	}
	if err := c.mustHaveBlobs(ctx, p.Repository, p.closure.blobs); err != nil {
		return err
	}
	for _, m := range p.closure.manifests {
		if err := c.mustName(ctx, p.Repository.Digest(m.digest.String()), m.digest); err != nil {
			return err
		}
	}
	for _, tag := range p.Tags {
		if err := c.mustName(ctx, p.Repository.Tag(tag.Name), tag.target.digest); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) mustName(ctx context.Context, ref name.Reference, digest v1.Hash) error {
	found, err := c.head(ctx, ref)
	if err != nil {
		return err
	}
	if found == nil || found.Digest != digest {
		return fmt.Errorf("%w: %s does not name %s, which was written there: is somebody else publishing?", ErrDamaged, ref, digest)
	}
	return nil
}

func (c *Client) mustHaveBlobs(ctx context.Context, repository name.Repository, blobs []v1.Descriptor) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for _, d := range blobs {
		g.Go(func() error {
			there, err := c.hasBlob(gctx, repository, d.Digest)
			if err == nil && !there {
				err = fmt.Errorf("%w: %s has no blob %s, which a manifest there names", ErrDamaged, repository, d.Digest)
			}
			return err
		})
	}
	return g.Wait()
}

// promotedTags are the tags that go along: the signatures', the build keys',
// the version if latest is promoted, and the tag itself last.
func (c *Client) promotedTags(ctx context.Context, from name.Tag, walk walker) ([]Tag, error) {
	top := walk.closure.manifests[slices.IndexFunc(walk.closure.manifests, func(m manifest) bool { return m.digest == walk.root })]
	wanted := walk.closure.tags
	names := []string{from.TagStr()}
	if top.mediaType.IsIndex() {
		index, err := v1.ParseIndexManifest(reader(top.raw))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		for _, child := range index.Manifests {
			if key := child.Annotations[image.LabelBuildKey]; key != "" && isPlatformImage(child) {
				i := slices.IndexFunc(walk.closure.manifests, func(m manifest) bool { return m.digest == child.Digest })
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
func (c *Client) buildsOf(ctx context.Context, ref name.Reference) ([]build, error) {
	images, err := c.published(ctx, ref)
	if err != nil {
		return nil, err
	}
	var builds []build
	for _, img := range images {
		builds = append(builds, build{img.platform, img.key, func() ([]image.Input, error) { return c.inputsOf(ctx, ref.Context(), img) }})
	}
	return builds, nil
}

// A closure is everything that a digest leads to, in an order in which it can
// be written: what is named before who names it, subjects before what is
// attached to them.
type closure struct {
	manifests []manifest
	blobs     []v1.Descriptor
	tags      []Tag // of cosign's
}

type walker struct {
	client     *Client
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
	attached, err := w.client.referrers(ctx, w.repository.Digest(digest.String()))
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
	found, err := w.client.head(ctx, tag)
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
func (w *walker) content(ctx context.Context, ref name.Reference, digest v1.Hash) (manifest, error) {
	found, err := w.client.get(ctx, ref)
	if err != nil {
		return manifest{}, err
	}
	if found == nil || found.Digest != digest {
		return manifest{}, fmt.Errorf("%w: %s is named, but not there", ErrDamaged, ref)
	}
	if found.MediaType.IsIndex() {
		children, err := childrenOf(found.Manifest)
		if err != nil {
			return manifest{}, fmt.Errorf("%s: %w", ref, err)
		}
		for _, child := range children {
			if err := w.visit(ctx, child.Digest); err != nil {
				return manifest{}, err
			}
		}
		return rawManifest(found.MediaType, found.Manifest), nil
	}
	m, err := v1.ParseManifest(reader(found.Manifest))
	if err != nil {
		return manifest{}, fmt.Errorf("%s: %w", ref, err)
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !w.seen[d.Digest] && d.MediaType.IsDistributable() {
			w.seen[d.Digest] = true
			w.closure.blobs = append(w.closure.blobs, d)
		}
	}
	return rawManifest(found.MediaType, found.Manifest), nil
}
