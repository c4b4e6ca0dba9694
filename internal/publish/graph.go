package publish

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// A graph is what the tags of a repository lead to.
type graph struct {
	tags       map[string]v1.Hash
	children   map[v1.Hash][]v1.Hash // of an index
	attached   map[v1.Hash][]v1.Hash // documents, by what they are about
	subject    map[v1.Hash]v1.Hash   // of a document
	provenance map[v1.Hash]attest.Provenance
	known      map[v1.Hash]bool
	order      []v1.Hash        // from the top down
	foreign    map[v1.Hash]bool // another tool has attached something to it
}

// survey reads all tags of a repository, and everything that they lead to. A
// tag or manifest that cannot be read is an error: what it keeps would look
// unused.
func survey(ctx context.Context, c *registry.Client, repository name.Repository) (*graph, error) {
	g := &graph{
		tags: map[string]v1.Hash{}, children: map[v1.Hash][]v1.Hash{}, attached: map[v1.Hash][]v1.Hash{}, subject: map[v1.Hash]v1.Hash{},
		provenance: map[v1.Hash]attest.Provenance{}, known: map[v1.Hash]bool{}, foreign: map[v1.Hash]bool{},
	}
	tags, err := c.AllTags(ctx, repository)
	if err != nil {
		return nil, err
	}
	for _, tag := range tags {
		found, err := c.Head(ctx, repository.Tag(tag))
		if err != nil {
			return nil, err
		}
		if found == nil {
			return nil, fmt.Errorf("%s was listed, but is not there: list again", repository.Tag(tag))
		}
		g.tags[tag] = found.Digest
	}
	if _, listed := g.tags[Latest]; !listed {
		found, err := c.Head(ctx, repository.Tag(Latest))
		if err != nil {
			return nil, err
		}
		if found != nil {
			return nil, fmt.Errorf("the list of tags of %s lacks %s, which is there, so it is not complete", repository, Latest)
		}
	}
	for _, tag := range g.sortedTags() {
		if registry.IsHelperTag(tag) {
			continue
		}
		if err := explore(ctx, c, repository, g, g.tags[tag]); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func explore(ctx context.Context, c *registry.Client, repository name.Repository, g *graph, digest v1.Hash) error {
	if g.known[digest] {
		return nil
	}
	g.known[digest] = true
	g.order = append(g.order, digest)
	ref := repository.Digest(digest.String())
	found, err := c.Get(ctx, ref)
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("%w: %s is named, but not there", registry.ErrDamaged, ref)
	}
	if found.MediaType.IsIndex() {
		children, err := registry.Children(found.Manifest)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		for _, child := range children {
			g.children[digest] = append(g.children[digest], child.Digest)
			if err := explore(ctx, c, repository, g, child.Digest); err != nil {
				return err
			}
		}
	} else if m, err := v1.ParseManifest(bytes.NewReader(found.Manifest)); err != nil {
		return fmt.Errorf("%s: %w", ref, err)
	} else if m.Subject != nil {
		g.subject[digest] = m.Subject.Digest
		// The document tells what it is about even where the registry's list does not.
		if !slices.Contains(g.attached[m.Subject.Digest], digest) {
			g.attached[m.Subject.Digest] = append(g.attached[m.Subject.Digest], digest)
		}
	}
	attached, err := c.Referrers(ctx, ref)
	if err != nil {
		return err
	}
	if _, ok := g.tags[registry.FallbackTag(ref).TagStr()]; ok { // from before the registry had an API for them
		more, err := c.FallbackReferrers(ctx, ref)
		if err != nil {
			return err
		}
		attached = append(attached, more...)
	}
	for _, d := range attached {
		if !slices.Contains(g.attached[digest], d.Digest) {
			g.attached[digest] = append(g.attached[digest], d.Digest)
		}
		g.foreign[digest] = g.foreign[digest] || attest.Titles[d.ArtifactType] == ""
		if err := explore(ctx, c, repository, g, d.Digest); err != nil {
			return err
		}
	}
	text, err := c.Document(ctx, repository, attached, attest.TypeProvenance)
	if err != nil {
		return err
	}
	if p, err := attest.ParseProvenance(text); text != nil && err == nil {
		g.provenance[digest] = p
	}
	return nil
}

// reach marks a digest and all that it leads to.
func (g *graph) reach(digest v1.Hash, marked map[v1.Hash]bool) {
	if marked[digest] {
		return
	}
	marked[digest] = true
	for _, next := range slices.Concat(g.children[digest], g.attached[digest]) {
		g.reach(next, marked)
	}
}

// surveyAll reads the manifests that a registry lists beyond what tags lead to.
func surveyAll(ctx context.Context, c *registry.Client, repository name.Repository, g *graph, all []registry.Stored) error {
	helpers := map[v1.Hash]bool{}
	for tag, digest := range g.tags {
		helpers[digest] = helpers[digest] || registry.IsHelperTag(tag)
	}
	for _, m := range all {
		for _, tag := range m.Tags {
			if _, ok := g.tags[tag]; !ok {
				return fmt.Errorf("%s was tagged meanwhile, or the list of tags is not complete: list again", repository.Tag(tag))
			}
		}
		if helpers[m.Digest] || g.known[m.Digest] {
			continue
		}
		if err := explore(ctx, c, repository, g, m.Digest); err != nil {
			return err
		}
	}
	return nil
}

// keepUntagged marks as living what must not go though no tag leads to it: what
// is young, since another process may be pushing it, and what another tool
// has attached something to on purpose; with all that these lead to.
func (g *graph) keepUntagged(all []registry.Stored, living, doomed map[v1.Hash]bool, r Retention) {
	for digest := range g.known {
		age := g.age(digest, all, r.Now)
		if !doomed[digest] && (age < r.Grace || g.foreign[digest]) {
			g.reach(digest, living)
			if subject, ok := g.subject[digest]; ok {
				g.reach(subject, living)
			}
		}
	}
}

// tagged reports whether a tag of people names a digest.
func (g *graph) tagged(digest v1.Hash) bool {
	for tag, named := range g.tags {
		if named == digest && !registry.IsHelperTag(tag) {
			return true
		}
	}
	return false
}

// topDown lists indexes, then images, then what is attached to them.
func (g *graph) topDown() []v1.Hash {
	rank := func(digest v1.Hash) int {
		if len(g.children[digest]) > 0 {
			return 0
		}
		if _, ok := g.subject[digest]; ok {
			return 2
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(g.order), func(a, b v1.Hash) int { return rank(a) - rank(b) })
}

// age is how long ago a manifest was published, by what the registry says or
// else by its provenance, that of its images or that of what it is attached
// to; negative if unknown.
func (g *graph) age(digest v1.Hash, all []registry.Stored, now time.Time) time.Duration {
	if i := slices.IndexFunc(all, func(s registry.Stored) bool { return s.Digest == digest }); i >= 0 && !all[i].Pushed.IsZero() {
		return now.Sub(all[i].Pushed)
	}
	youngest := time.Duration(-1)
	for _, d := range append([]v1.Hash{digest, g.subject[digest]}, g.children[digest]...) {
		p, ok := g.provenance[d]
		if !ok || p.Origin().Time.IsZero() {
			continue
		}
		if age := max(0, now.Sub(p.Origin().Time)); youngest < 0 || age < youngest {
			youngest = age
		}
	}
	return youngest
}

func (g *graph) sortedTags() []string { return slices.Sorted(maps.Keys(g.tags)) }
