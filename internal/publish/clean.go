package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A Retention says what may go from a repository.
type Retention struct {
	Branches []string      // that exist; none is an error, since a listing that went wrong looks the same
	Grace    time.Duration // manifests that are younger stay, whatever else holds
	Now      time.Time
	Scoped   bool // the repository is the branches' own: its tags are theirs
}

// A Cleaning is what goes from a repository, and what stays though it should
// go. It is made with requests that only read.
type Cleaning struct {
	Repository name.Repository `json:"-"`
	Name       string          `json:"repository"`
	Remove     []Removal       `json:"remove"` // in this order
	Keep       []Removal       `json:"keep"`

	store registry.Store
	tags  map[string]v1.Hash // as they were
}

// A Removal is a tag or a manifest, and why it goes or stays.
type Removal struct {
	Tag    string  `json:"tag,omitempty"` // empty for a manifest
	Digest v1.Hash `json:"digest"`
	Reason string  `json:"reason"`

	shared bool // what the tag names stays
}

// NewCleaning finds the tags of branches that are gone; the manifests that
// nothing leads to when those tags are gone; and, where the registry can list
// them, untagged manifests that no index and no attached document names.
// Whatever a tag that stays leads to stays, images of an index above all.
func NewCleaning(ctx context.Context, c *registry.Client, repository name.Repository, r Retention) (Cleaning, error) {
	plan := Cleaning{Repository: repository, Name: repository.String(), Remove: []Removal{}, Keep: []Removal{}, store: c.Store(repository)}
	if len(r.Branches) == 0 {
		return plan, errors.New("no branch exists: that cannot be told from a listing that went wrong, so nothing is removed")
	}
	g, err := survey(ctx, c, repository)
	if err != nil {
		return plan, err
	}
	plan.tags = g.tags
	all, err := plan.store.List(ctx)
	listed := err == nil
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return plan, c.Explain(repository, fmt.Errorf("list the manifests of %s: %w", repository, err))
	}
	going, err := goneTags(ctx, c, g, r)
	if err != nil {
		return plan, err
	}
	living := map[v1.Hash]bool{}
	for tag, digest := range g.tags {
		if _, goes := going[tag]; !goes && !registry.IsHelperTag(tag) {
			g.reach(digest, living)
		}
	}
	doomed := map[v1.Hash]bool{}
	for tag := range going {
		g.reach(g.tags[tag], doomed)
	}
	if listed {
		if err := surveyAll(ctx, c, repository, g, all); err != nil {
			return plan, err
		}
		g.keepUntagged(all, living, doomed, r)
	}
	for _, tag := range g.sortedTags() {
		if reason, goes := going[tag]; goes {
			plan.Remove = append(plan.Remove, Removal{Tag: tag, Digest: g.tags[tag], Reason: reason, shared: living[g.tags[tag]]})
		}
	}
	for _, digest := range g.topDown() {
		switch {
		case living[digest]:
		case doomed[digest]:
			plan.sort(digest, "nothing leads to it but tags of branches that are gone", g.age(digest, all, r.Now), r.Grace)
		case listed && !g.tagged(digest):
			plan.sort(digest, "untagged, and nothing that stays names it", g.age(digest, all, r.Now), r.Grace)
		}
	}
	plan.dropHelpers(g)
	return plan, nil
}

// sort puts a manifest where it belongs by its age.
func (p *Cleaning) sort(digest v1.Hash, reason string, age time.Duration, grace time.Duration) {
	switch {
	case age < 0:
		p.Keep = append(p.Keep, Removal{Digest: digest, Reason: "its age is not known"})
	case age < grace:
		p.Keep = append(p.Keep, Removal{Digest: digest, Reason: fmt.Sprintf("it is %s old, younger than %s", age.Round(time.Minute), grace)})
	default:
		p.Remove = append(p.Remove, Removal{Digest: digest, Reason: reason})
	}
}

// goneTags returns the tags of branches that are gone, with the reason, and the
// build keys that came with them.
func goneTags(ctx context.Context, c *registry.Client, g *graph, r Retention) (map[string]string, error) {
	exists, tagged := map[string]bool{}, map[string]bool{}
	for _, b := range r.Branches {
		exists[branch.Slug(b)] = true
		tagged[branch.Tag(b)] = true
	}
	going := map[string]string{}
	reached := map[v1.Hash]bool{}
	for tag, digest := range g.tags {
		if r.Scoped && strings.HasPrefix(tag, "branch") && !tagged[tag] {
			going[tag] = "its branch is gone"
			g.reach(digest, reached)
			continue
		}
		if _, slug, ok := branch.Cut(tag); ok && slug != "" && !exists[slug] {
			going[tag] = fmt.Sprintf("branch %s is gone", slug)
			g.reach(digest, reached)
		}
	}
	living := map[v1.Hash]bool{}
	for tag, digest := range g.tags {
		if _, goes := going[tag]; !goes && !isKeyTag(tag) && !registry.IsHelperTag(tag) {
			g.reach(digest, living)
		}
	}
	// A build key goes with its branch. One of an earlier build of the branch
	// is known by its provenance.
	for tag, digest := range g.tags {
		if !isKeyTag(tag) || living[digest] {
			continue
		}
		from := ""
		if !reached[digest] {
			var err error
			if from, err = branchOf(ctx, c, g, digest); err != nil {
				return nil, err
			}
			if from == "" || exists[branch.Slug(from)] {
				continue
			}
		}
		going[tag] = "its branch is gone"
	}
	// One that stays may lead to an image that another index has as well.
	staying := map[v1.Hash]bool{}
	for tag, digest := range g.tags {
		if _, goes := going[tag]; !goes && !registry.IsHelperTag(tag) {
			g.reach(digest, staying)
		}
	}
	for tag := range going {
		if isKeyTag(tag) && staying[g.tags[tag]] {
			delete(going, tag)
		}
	}
	return going, nil
}

// branchOf is the branch that a build was published from; empty where no record
// says.
func branchOf(ctx context.Context, c *registry.Client, g *graph, digest v1.Hash) (string, error) {
	for _, d := range append([]v1.Hash{digest}, g.children[digest]...) {
		if p, ok := g.provenance[d]; ok {
			return p.Branch(), nil
		}
	}
	return "", ctx.Err()
}

// dropHelpers lets the tags for machines go with the manifests that they are
// about.
func (p *Cleaning) dropHelpers(g *graph) {
	for _, removal := range slices.Clone(p.Remove) {
		if removal.Tag != "" {
			continue
		}
		for _, suffix := range []string{"", ".sig", ".att", ".sbom"} {
			tag := removal.Digest.Algorithm + "-" + removal.Digest.Hex + suffix
			if digest, ok := g.tags[tag]; ok {
				p.Remove = append(p.Remove, Removal{Tag: tag, Digest: digest, Reason: "it is about a manifest that goes"})
			}
		}
	}
}

// Apply removes what a plan says: tags first, then from the top down, so that
// nothing that is left names what is gone. It goes on after an error, except
// that a manifest stays whose tag could not be removed.
func (p Cleaning) Apply(ctx context.Context, c *registry.Client) error {
	if err := unchanged(ctx, c, p); err != nil {
		return err
	}
	var errs []error
	stuck := map[v1.Hash]bool{}
	done := map[v1.Hash]bool{}
	for _, removal := range p.Remove {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if stuck[removal.Digest] || removal.Tag == "" && done[removal.Digest] {
			continue
		}
		err := remove(ctx, c, p.store, removal)
		if removal.Tag == "" {
			done[removal.Digest] = true
		}
		if err != nil && !registry.IsNotFound(err) {
			stuck[removal.Digest] = true
			what := removal.Tag
			if what == "" {
				what = removal.Digest.String()
			}
			errs = append(errs, c.Explain(p.Repository, fmt.Errorf("remove %s of %s: %w", what, p.Repository, err)))
		}
	}
	return errors.Join(errs...)
}

// remove removes a tag or a manifest. Where a registry removes a tag only with
// its manifest, it goes with that, which follows in the plan if its age allows;
// it stays if another tag needs the manifest.
func remove(ctx context.Context, c *registry.Client, from registry.Store, removal Removal) error {
	if removal.Tag == "" {
		return from.RemoveManifest(ctx, removal.Digest)
	}
	err := from.RemoveTag(ctx, removal.Tag)
	switch {
	case !errors.Is(err, errors.ErrUnsupported):
		return err
	case registry.IsHelperTag(removal.Tag):
		return from.RemoveManifest(ctx, removal.Digest)
	case removal.shared:
		c.Notice(fmt.Sprintf("tag %s stays: this registry removes a tag only with its manifest, which other tags need", removal.Tag))
	}
	return nil
}

// unchanged refuses a plan that another push has overtaken: a new tag may
// lead to what is about to go.
func unchanged(ctx context.Context, c *registry.Client, plan Cleaning) error {
	if len(plan.Remove) == 0 {
		return nil
	}
	tags, err := c.AllTags(ctx, plan.Repository)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		was, known := plan.tags[tag]
		if known && isKeyTag(tag) {
			continue // it never moves
		}
		now, err := c.Head(ctx, plan.Repository.Tag(tag))
		if err != nil {
			return err
		}
		if now != nil && now.Digest != was {
			return fmt.Errorf("clean %s: tag %s was pushed while this was planned: plan again", plan.Repository, tag)
		}
	}
	return nil
}
