package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/sbom"
)

// A Plan is what a repository lacks of a release. It is made with requests
// that only read; nothing is written before Execute.
type Plan struct {
	Repository name.Repository
	Digest     v1.Hash // of the index that the tags name when all is done
	Tags       []Tag   // to write, in this order
	Blobs      []Blob  // to send or to mount
	Adopted    bool    // the same build is there with other bytes, and stays

	base      name.Repository // a repository of the same registry that may have the base image's blobs
	manifests []manifest      // to write before any tag, in this order
	sign      []v1.Descriptor // what a signature is missing on
	signer    *Signer
}

// A Tag is a tag to write.
type Tag struct {
	Name   string
	Was    v1.Hash // what it names now; zero if nothing
	target manifest
}

// A Blob is a blob that a repository lacks.
type Blob struct {
	Digest v1.Hash
	Size   int64
	layer  v1.Layer
}

// Empty says whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Tags)+len(p.manifests)+len(p.sign) == 0 }

// Bytes is the size of all blobs to send.
func (p Plan) Bytes() (total int64) {
	for _, b := range p.Blobs {
		total += b.Size
	}
	return total
}

// A Request says how a release is to be published.
type Request struct {
	Tags   []string // those of people: the version first
	Fixed  bool     // the first tag is a version, which stays with its build
	Force  bool     // nevertheless
	Origin Origin
	Signer *Signer // nil: do not sign
}

// A ConflictError says that a version is published from another build.
type ConflictError struct {
	Ref         name.Tag
	Differences []string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s is published from another build: %s; publish a new version, or replace it by --force", e.Ref, strings.Join(e.Differences, ", "))
}

// Plan looks what a repository lacks of a release.
func (c *Client) Plan(ctx context.Context, repository name.Repository, release Release, request Request) (Plan, error) {
	index, err := release.index()
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Repository: repository, Digest: index.digest, signer: request.Signer, base: baseOf(release, repository)}
	key := keyTag(release.BuildKey())
	whole, err := c.headForPush(ctx, repository.Tag(key))
	if err != nil {
		return plan, err
	}
	target := index
	switch {
	case whole == nil || request.Force && whole.Digest != index.digest:
		if err := c.planContent(ctx, &plan, release, index, request.Origin); err != nil {
			return plan, err
		}
	case whole.Digest != index.digest:
		// The same inputs gave other bytes, as builds by podman do. What is
		// there was published first, and somebody may have it already.
		published, err := c.get(ctx, repository.Digest(whole.Digest.String()))
		if err != nil {
			return plan, err
		}
		if published == nil {
			return plan, fmt.Errorf("%s names %s, which is not there: publish with --force", repository.Tag(key), whole.Digest)
		}
		target, plan.Digest, plan.Adopted = rawManifest(published.MediaType, published.Manifest), whole.Digest, true
	}
	if err := c.planTags(ctx, &plan, release, target, key, request); err != nil {
		return plan, err
	}
	return plan, c.planSignatures(ctx, &plan, target)
}

// planTags finds the tags that name something else. The images' own build keys
// come first, then that of the whole, by which the next run knows that all is
// there.
func (c *Client) planTags(ctx context.Context, plan *Plan, release Release, target manifest, key string, request Request) error {
	wanted := []Tag{}
	for _, built := range release.Images {
		if plan.Adopted {
			break // they were tagged with what is there
		}
		m, err := imageManifest(built.Image)
		if err != nil {
			return err
		}
		wanted = append(wanted, Tag{Name: keyTag(built.Record.BuildKey), target: m})
	}
	wanted = append(wanted, Tag{Name: key, target: target})
	for _, tag := range request.Tags {
		wanted = append(wanted, Tag{Name: tag, target: target})
	}
	found := make([]*v1.Descriptor, len(wanted))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for i, tag := range wanted {
		g.Go(func() (err error) {
			found[i], err = c.headForPush(gctx, plan.Repository.Tag(tag.Name))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, tag := range wanted {
		if found[i] != nil {
			tag.Was = found[i].Digest
		}
		if tag.Was == tag.target.digest || isKeyTag(tag.Name) && tag.Was != (v1.Hash{}) && !request.Force {
			continue
		}
		if request.Fixed && !request.Force && len(request.Tags) > 0 && tag.Name == request.Tags[0] && tag.Was != (v1.Hash{}) {
			if err := c.checkVersion(ctx, plan.Repository.Tag(tag.Name), release.builds()); err != nil {
				return err
			}
		}
		plan.Tags = append(plan.Tags, tag)
	}
	return nil
}

// planContent collects everything that the tags will lead to: blobs that are
// missing, and all manifests, which are small.
func (c *Client) planContent(ctx context.Context, plan *Plan, release Release, index manifest, origin Origin) error {
	var layers []v1.Layer
	var attached []manifest
	for _, built := range release.Images {
		documents, err := c.documents(ctx, plan.Repository, built, origin)
		if err != nil {
			return fmt.Errorf("%s for %s: %w", release.Name, built.Record.Platform, err)
		}
		for _, d := range documents {
			layers = append(layers, d.blobs...)
			attached = append(attached, d.manifest)
		}
		images := []v1.Image{built.Image}
		for _, companion := range built.company {
			images = append(images, companion.manifest)
		}
		for i, img := range images {
			blobs, m, err := contentOf(img)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", release.Name, built.Record.Platform, err)
			}
			layers = append(layers, blobs...)
			if i == 0 || built.company[i-1].listed != nil {
				plan.manifests = append(plan.manifests, m)
			} else {
				attached = append(attached, m)
			}
		}
	}
	// An image comes before what is attached to it: some registries refuse a
	// subject that they do not have.
	plan.manifests = append(append(plan.manifests, attached...), index)
	var err error
	plan.Blobs, err = c.missing(ctx, plan.Repository, layers)
	return err
}

// documents makes the artifacts that travel with an image.
func (c *Client) documents(ctx context.Context, repository name.Repository, built Built, origin Origin) ([]artifact, error) {
	var documents []artifact
	add := func(kind string, text []byte) error {
		a, err := attach(built.descriptor, kind, text, map[string]string{"org.opencontainers.image.title": titles[kind]})
		documents = append(documents, a)
		return err
	}
	if built.Lock != nil {
		config, err := built.Image.ConfigFile()
		if err != nil {
			return nil, err
		}
		spdx, cyclonedx, err := sbom.FromLock(sbom.Subject{
			Name: built.Record.Name, Version: built.Record.Version, Digest: built.Record.Digest.String(), Created: config.Created.Time,
		}, built.Lock)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(add(TypeLock, built.Lock), add(TypeSPDX, spdx), add(TypeCycloneDX, cyclonedx)); err != nil {
			return nil, err
		}
	}
	// The provenance tells when and where, so each would be another one: the
	// first stays.
	there, err := c.referrers(ctx, repository.Digest(built.Record.Digest.String()))
	if err != nil && !isNotFound(err) && !isHidden(repository.RegistryStr(), err) {
		return nil, err
	}
	if slices.ContainsFunc(there, func(d v1.Descriptor) bool { return d.ArtifactType == TypeProvenance }) {
		return documents, nil
	}
	text, err := newProvenance(built.Record, origin)
	if err != nil {
		return nil, err
	}
	return documents, add(TypeProvenance, text)
}

// titles are the file names that tools give to attached documents.
var titles = map[string]string{TypeLock: "spack.lock", TypeSPDX: "sbom.spdx.json", TypeCycloneDX: "sbom.cdx.json", TypeProvenance: "provenance.json"}

// contentOf returns the blobs of an image, its configuration too, and its
// manifest.
func contentOf(img v1.Image) ([]v1.Layer, manifest, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, manifest{}, err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return nil, manifest{}, err
	}
	m, err := imageManifest(img)
	return append(slices.Clone(layers), config), m, err
}

// missing finds the blobs that a repository lacks, each once.
func (c *Client) missing(ctx context.Context, repository name.Repository, layers []v1.Layer) ([]Blob, error) {
	var blobs []Blob
	seen := map[v1.Hash]bool{}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return nil, err
		}
		size, err := layer.Size()
		if err != nil {
			return nil, err
		}
		mediaType, err := layer.MediaType()
		if err != nil {
			return nil, err
		}
		if !seen[digest] && mediaType.IsDistributable() {
			seen[digest] = true
			blobs = append(blobs, Blob{digest, size, layer})
		}
	}
	there := make([]bool, len(blobs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel)
	for i, blob := range blobs {
		g.Go(func() (err error) {
			there[i], err = c.hasBlob(gctx, repository, blob.Digest)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var lacking []Blob
	for i, blob := range blobs {
		if there[i] {
			c.learn(repository, blob.Digest)
		} else {
			lacking = append(lacking, blob)
		}
	}
	return lacking, nil
}

// hasBlob asks for a blob's head. A repository that does not exist yet, or
// that a registry hides from us until we push, has none.
func (c *Client) hasBlob(ctx context.Context, repository name.Repository, digest v1.Hash) (bool, error) {
	layer, err := c.puller.Layer(ctx, repository.Digest(digest.String()))
	if err == nil {
		var exists bool
		if exists, err = partial.Exists(layer); err == nil {
			return exists, nil
		}
	}
	if isNotFound(err) || isHidden(repository.RegistryStr(), err) {
		return false, nil
	}
	return false, c.explain(repository.RegistryStr(), fmt.Errorf("ask %s for blob %s: %w", repository, digest, err))
}

// baseOf is the repository of the base image, if it is in the same registry.
func baseOf(release Release, repository name.Repository) name.Repository {
	for _, built := range release.Images {
		config, err := built.Image.ConfigFile()
		if err != nil {
			continue
		}
		base, err := name.NewRepository(config.Config.Labels["org.opencontainers.image.base.name"])
		if ref, refErr := name.ParseReference(config.Config.Labels["org.opencontainers.image.base.name"]); err != nil && refErr == nil {
			base, err = ref.Context(), nil
		}
		if err == nil && base.RegistryStr() == repository.RegistryStr() && base.RepositoryStr() != repository.RepositoryStr() {
			return repository.Registry.Repo(base.RepositoryStr())
		}
	}
	return name.Repository{}
}

// A build is what is about to take a version's place, on one platform.
type build struct {
	platform string
	key      string
	inputs   func() ([]image.Input, error)
}

func (r Release) builds() []build {
	var builds []build
	for _, b := range r.Images {
		builds = append(builds, build{b.Record.Platform, b.Record.BuildKey, func() ([]image.Input, error) { return b.Record.Inputs, nil }})
	}
	return builds
}

// checkVersion refuses to put other builds under a version.
func (c *Client) checkVersion(ctx context.Context, ref name.Tag, builds []build) error {
	published, err := c.published(ctx, ref)
	if err != nil || published == nil {
		return err
	}
	var found []string
	for _, old := range published {
		i := slices.IndexFunc(builds, func(b build) bool { return b.platform == old.platform })
		switch {
		case i < 0:
			found = append(found, old.platform+" would be lost")
		case old.key == "":
			found = append(found, old.platform+": it has no build key, so something else has published it")
		case old.key != builds[i].key:
			changed, err := c.compare(ctx, ref.Context(), old, builds[i])
			if err != nil {
				return err
			}
			found = append(found, changed...)
		}
	}
	if len(found) > 0 {
		return &ConflictError{ref, found}
	}
	return nil
}

// compare says in which inputs a published image and a build differ.
func (c *Client) compare(ctx context.Context, repository name.Repository, old publishedImage, with build) ([]string, error) {
	before, err := c.inputsOf(ctx, repository, old)
	if err != nil {
		return nil, err
	}
	after, err := with.inputs()
	if err != nil {
		return nil, err
	}
	var found []string
	if len(before) > 0 && len(after) > 0 {
		for _, difference := range differences(before, after) {
			found = append(found, old.platform+": "+difference)
		}
	}
	if len(found) == 0 {
		found = append(found, fmt.Sprintf("%s: build key %.16s there, %.16s here", old.platform, old.key, with.key))
	}
	return found, nil
}

// A publishedImage is one platform's image behind a tag.
type publishedImage struct {
	platform   string
	key        string
	descriptor v1.Descriptor
}

// published lists the images behind a tag or digest; nil where there is none.
func (c *Client) published(ctx context.Context, ref name.Reference) ([]publishedImage, error) {
	found, err := c.get(ctx, ref)
	if found == nil || err != nil {
		return nil, err
	}
	if !found.MediaType.IsIndex() {
		config, err := c.config(ctx, ref.Context(), found.Descriptor)
		if err != nil {
			return nil, err
		}
		platform := v1.Platform{OS: config.OS, Architecture: config.Architecture}
		return []publishedImage{{platform.String(), config.Config.Labels[image.LabelBuildKey], found.Descriptor}}, nil
	}
	children, err := childrenOf(found.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	var images []publishedImage
	for _, child := range children {
		if !isPlatformImage(child) {
			continue
		}
		platform := v1.Platform{OS: child.Platform.OS, Architecture: child.Platform.Architecture}
		images = append(images, publishedImage{platform.String(), child.Annotations[image.LabelBuildKey], child})
	}
	return images, nil
}

// isPlatformImage tells an index's images from what BuildKit lists beside them.
func isPlatformImage(d v1.Descriptor) bool {
	return d.MediaType.IsImage() && d.Platform != nil && d.Platform.OS != "unknown" && d.Annotations["vnd.docker.reference.digest"] == ""
}

// inputsOf are what a published image was made from; none where nobody says.
func (c *Client) inputsOf(ctx context.Context, repository name.Repository, img publishedImage) ([]image.Input, error) {
	config, err := c.config(ctx, repository, img.descriptor)
	if err != nil {
		return nil, err
	}
	if inputs := labelledInputs(config); inputs != nil {
		return inputs, nil
	}
	attached, err := c.referrers(ctx, repository.Digest(img.descriptor.Digest.String()))
	if err != nil {
		return nil, err
	}
	text, err := c.document(ctx, repository, attached, TypeProvenance)
	if text == nil || err != nil {
		return nil, err
	}
	p, err := parseProvenance(text)
	if err != nil {
		return nil, nil //nolint:nilerr // somebody else's provenance says nothing of our inputs
	}
	return p.inputs(), nil
}

func (c *Client) config(ctx context.Context, repository name.Repository, d v1.Descriptor) (*v1.ConfigFile, error) {
	ref := repository.Digest(d.Digest.String())
	found, err := c.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("%s is named, but not there", ref)
	}
	img, err := found.Image()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, c.explain(repository.RegistryStr(), fmt.Errorf("read the configuration of %s: %w", ref, err))
	}
	return config, nil
}

func childrenOf(raw []byte) ([]v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(reader(raw))
	if err != nil {
		return nil, err
	}
	if index.MediaType != "" && !index.MediaType.IsIndex() {
		return nil, fmt.Errorf("it is no index but %s", index.MediaType)
	}
	return index.Manifests, nil
}
