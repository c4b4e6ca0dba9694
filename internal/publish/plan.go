package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Plan is what a repository lacks of a release. It is made with requests
// that only read; nothing is written before Apply.
type Plan struct {
	Repository name.Repository
	Digest     v1.Hash         // of the index that the tags name when all is done
	Tags       []Tag           // to write, in this order
	Blobs      []registry.Blob // to send or to mount
	Adopted    bool            // the same build is there with other bytes, and stays

	base      name.Repository     // a repository of the same registry that may have the base image's blobs
	manifests []registry.Manifest // to write before any tag, in this order
	replace   bool                // what is there under the build key
	untrusted bool                // because the release builder has not signed that
	sign      []signing           // what a signature is missing on
	signer    *attest.Signer
}

// A Tag is a tag to write.
type Tag struct {
	Name   string
	Was    v1.Hash // what it names now; zero if nothing
	target registry.Manifest
}

// Empty reports whether there is nothing to do.
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
	Origin attest.Origin
	Signer *attest.Signer // nil: do not sign

	Branch   bool             // it is no release: no tags of build keys, which others would take for theirs
	Verifier *attest.Verifier // of releases; nil: the signer's, or without one all who may write to the repository are trusted

	NoDocuments bool // leave out what is attached to images: some registries take no such things
}

// A ConflictError says that a version is published from another build.
type ConflictError struct {
	Ref         name.Tag
	Differences []string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s is published from another build: %s; publish a new version, or replace it by --force", e.Ref, strings.Join(e.Differences, ", "))
}

// NewPlan looks what a repository lacks of a release.
func NewPlan(ctx context.Context, c *registry.Client, repository name.Repository, release Release, request Request) (Plan, error) {
	index, err := release.index()
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Repository: repository, Digest: index.Digest, signer: request.Signer, base: baseOf(release, repository)}
	key := keyTag(release.BuildKey())
	if request.Branch {
		key = request.Tags[0] // it tells as well that all is there, since it is written last
	}
	whole, err := c.HeadForPush(ctx, repository.Tag(key))
	if err != nil {
		return plan, err
	}
	plan.replace = request.Force || request.Branch
	if request.Verifier == nil && request.Signer != nil {
		request.Verifier = request.Signer.Verifier() // or else it would sign what others have put there
	}
	if whole != nil && whole.Digest != index.Digest && !plan.replace && request.Verifier != nil {
		err := attest.CheckBuild(ctx, c, repository, whole.Digest, request.Verifier, release.BuildKey())
		if err != nil && !errors.Is(err, attest.ErrUnsigned) {
			return plan, err
		}
		if plan.replace, plan.untrusted = err != nil, err != nil; plan.untrusted {
			c.Notice(fmt.Sprintf("%s is not the release builder's: it is replaced by this build", repository.Tag(key)))
		}
	}
	target := index
	switch {
	case whole == nil || plan.replace && whole.Digest != index.Digest:
		if err := planContent(ctx, c, &plan, release, index, request); err != nil {
			return plan, err
		}
	case whole.Digest != index.Digest:
		// The same inputs gave other bytes, as builds by podman do. What is
		// there was published first, and users may have it already.
		published, err := c.Get(ctx, repository.Digest(whole.Digest.String()))
		if err != nil {
			return plan, err
		}
		if published == nil {
			return plan, fmt.Errorf("%s names %s, which is not there: publish with --force", repository.Tag(key), whole.Digest)
		}
		target, plan.Digest, plan.Adopted = registry.RawManifest(published.MediaType, published.Manifest), whole.Digest, true
	}
	if err := planTags(ctx, c, &plan, release, target, key, request); err != nil {
		return plan, err
	}
	return plan, planSignatures(ctx, c, &plan, target, release.BuildKey())
}

// planTags finds the tags that name something else. The images' own build keys
// come first, then that of the whole, by which the next run knows that all is
// there.
func planTags(ctx context.Context, c *registry.Client, plan *Plan, release Release, target registry.Manifest, key string, request Request) error {
	wanted := []Tag{}
	for _, built := range release.Images {
		if plan.Adopted || request.Branch {
			break // they were tagged with what is there
		}
		m, err := registry.ManifestOf(built.Image)
		if err != nil {
			return err
		}
		wanted = append(wanted, Tag{Name: keyTag(built.Record.BuildKey), target: m})
		if built.Record.Concretization == "" || request.NoDocuments {
			continue
		}
		tag, err := planLockTag(ctx, c, plan.Repository, built.Record, m, request.Verifier)
		if err != nil {
			return err
		}
		plan.Tags = append(plan.Tags, tag...)
	}
	if !request.Branch {
		wanted = append(wanted, Tag{Name: key, target: target})
	}
	for _, tag := range request.Tags {
		wanted = append(wanted, Tag{Name: tag, target: target})
	}
	found := make([]*v1.Descriptor, len(wanted))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.Parallel())
	for i, tag := range wanted {
		g.Go(func() (err error) {
			found[i], err = c.HeadForPush(gctx, plan.Repository.Tag(tag.Name))
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
		if tag.Was == tag.target.Digest || isKeyTag(tag.Name) && tag.Was != (v1.Hash{}) && !plan.replace {
			continue
		}
		if request.Fixed && !request.Force && len(request.Tags) > 0 && tag.Name == request.Tags[0] && tag.Was != (v1.Hash{}) {
			if err := checkVersion(ctx, c, plan.Repository.Tag(tag.Name), release.builds()); err != nil {
				return err
			}
		}
		plan.Tags = append(plan.Tags, tag)
	}
	return nil
}

// planLockTag finds the tag by which other machines find the lockfile of an image that was
// concretized for it. The first lockfile that was published under a key stays, as long as it
// counts.
func planLockTag(ctx context.Context, c *registry.Client, repository name.Repository, record image.Record, m registry.Manifest, verifier *attest.Verifier) ([]Tag, error) {
	tag := Tag{Name: lockTag(record.Concretization), target: m}
	there, err := c.HeadForPush(ctx, repository.Tag(tag.Name))
	if err != nil {
		return nil, err
	}
	if there != nil {
		if tag.Was = there.Digest; tag.Was == m.Digest {
			return nil, nil
		}
		lock, err := Lock(ctx, c, repository, record.Concretization, verifier)
		if lock != nil || err != nil {
			return nil, err
		}
	}
	return []Tag{tag}, nil
}

// planContent collects everything that the tags will lead to: blobs that are
// missing, and all manifests, which are small.
func planContent(ctx context.Context, c *registry.Client, plan *Plan, release Release, index registry.Manifest, request Request) error {
	var layers []v1.Layer
	var attached []registry.Manifest
	for _, built := range release.Images {
		if !request.NoDocuments {
			documents, err := documents(ctx, c, plan.Repository, built, request.Origin)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", release.Name, built.Record.Platform, err)
			}
			for _, d := range documents {
				layers = append(layers, d.Blobs...)
				attached = append(attached, d.Manifest)
			}
		}
		images := []v1.Image{built.Image}
		var listed []bool // in the index, as the image itself is
		for _, companion := range built.company {
			if companion.listed != nil || !request.NoDocuments {
				images, listed = append(images, companion.manifest), append(listed, companion.listed != nil)
			}
		}
		for i, img := range images {
			blobs, m, err := registry.ContentOf(img)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", release.Name, built.Record.Platform, err)
			}
			layers = append(layers, blobs...)
			if i == 0 || listed[i-1] {
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
	plan.Blobs, err = c.Missing(ctx, plan.Repository, layers)
	return err
}

// documents makes the artifacts that travel with an image.
func documents(ctx context.Context, c *registry.Client, repository name.Repository, built Built, origin attest.Origin) ([]attest.Artifact, error) {
	var documents []attest.Artifact
	add := func(kind string, text []byte) error {
		a, err := attest.Attach(built.descriptor, kind, text, map[string]string{"org.opencontainers.image.title": attest.Titles[kind]})
		documents = append(documents, a)
		return err
	}
	if built.Lock != nil {
		config, err := built.Image.ConfigFile()
		if err != nil {
			return nil, err
		}
		spdx, cyclonedx, err := attest.Bills(attest.Subject{
			Name: built.Record.Name, Version: built.Record.Version, Digest: built.Record.Digest.String(), Created: config.Created.Time,
		}, built.Lock)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(add(attest.TypeLock, built.Lock), add(attest.TypeSPDX, spdx), add(attest.TypeCycloneDX, cyclonedx)); err != nil {
			return nil, err
		}
	}
	// The provenance tells when and where, so each would be another one: the
	// first stays.
	there, err := c.Referrers(ctx, repository.Digest(built.Record.Digest.String()))
	if err != nil && !registry.IsNotFound(err) && !registry.IsHidden(repository.RegistryStr(), err) {
		return nil, err
	}
	if slices.ContainsFunc(there, func(d v1.Descriptor) bool { return d.ArtifactType == attest.TypeProvenance }) {
		return documents, nil
	}
	text, err := attest.NewProvenance(built.Record, origin)
	if err != nil {
		return nil, err
	}
	return documents, add(attest.TypeProvenance, text)
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
func checkVersion(ctx context.Context, c *registry.Client, ref name.Tag, builds []build) error {
	published, err := c.Images(ctx, ref)
	if err != nil || published == nil {
		return err
	}
	var found []string
	for _, old := range published {
		i := slices.IndexFunc(builds, func(b build) bool { return b.platform == old.Platform })
		switch {
		case i < 0:
			found = append(found, old.Platform+" would be lost")
		case old.Key == "":
			found = append(found, old.Platform+": it has no build key, so something else has published it")
		case old.Key != builds[i].key:
			changed, err := compare(ctx, c, ref.Context(), old, builds[i])
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
func compare(ctx context.Context, c *registry.Client, repository name.Repository, old registry.PlatformImage, with build) ([]string, error) {
	before, err := attest.Inputs(ctx, c, repository, old)
	if err != nil {
		return nil, err
	}
	after, err := with.inputs()
	if err != nil {
		return nil, err
	}
	var found []string
	if len(before) > 0 && len(after) > 0 {
		for _, difference := range attest.Differences(before, after) {
			found = append(found, old.Platform+": "+difference)
		}
	}
	if len(found) == 0 {
		found = append(found, fmt.Sprintf("%s: build key %.16s there, %.16s here", old.Platform, old.Key, with.key))
	}
	return found, nil
}
