package attest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// An Origin is where a release comes from. It goes into the provenance that is
// attached to each image.
type Origin struct {
	Source  string    // the git repository
	Commit  string    // of it
	Branch  string    // that it was built from
	Builder string    // the address of the CI job that built it; anything else becomes LocalBuilder
	Time    time.Time // of publishing
}

// A Provenance is an in-toto statement with SLSA's predicate, version 1: what
// an image was made from, by whom.
type Provenance struct {
	Type          string        `json:"_type"`
	Subject       []resource    `json:"subject"`
	PredicateType string        `json:"predicateType"`
	Predicate     slsaPredicate `json:"predicate"`
}

type slsaPredicate struct {
	Definition struct {
		Type         string         `json:"buildType"`
		Parameters   map[string]any `json:"externalParameters"`
		Internal     *internals     `json:"internalParameters,omitempty"`
		Dependencies []resource     `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	Run struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		Metadata struct {
			Finished time.Time `json:"finishedOn"`
		} `json:"metadata"`
	} `json:"runDetails"`
}

// internals are the inputs that are values and no materials, such as the
// platform.
type internals struct {
	Inputs []image.Input `json:"inputs"`
}

type resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

const (
	statementType = "https://in-toto.io/Statement/v1"
	slsaType      = "https://slsa.dev/provenance/v1"
	buildType     = "https://github.com/openbraininstitute/spacktainers/build/v1"

	// LocalBuilder is this tool, wherever it runs outside of a CI system: who ran
	// it, on which machine and in which folder is not published.
	LocalBuilder = "https://github.com/openbraininstitute/spacktainers/builder/local"

	dirty = "-dirty" // behind a commit: the checkout had changes on top
)

// NewProvenance writes the provenance of an image.
func NewProvenance(record image.Record, origin Origin) ([]byte, error) {
	statement := Provenance{
		Type:          statementType,
		Subject:       []resource{{Name: record.Name, Digest: map[string]string{record.Digest.Algorithm: record.Digest.Hex}}},
		PredicateType: slsaType,
	}
	p := &statement.Predicate
	p.Definition.Type = buildType
	p.Definition.Parameters = map[string]any{
		"name": record.Name, "version": record.Version, "platform": record.Platform, "engine": record.Engine, "build_key": record.BuildKey,
	}
	if origin.Branch != "" {
		p.Definition.Parameters["branch"] = origin.Branch
	}
	if origin.Source != "" || origin.Commit != "" {
		source := resource{Name: "source"}
		if origin.Source != "" {
			source.URI = "git+" + origin.Source
		}
		if commit, changed := strings.CutSuffix(origin.Commit, dirty); commit != "" {
			source.Digest = map[string]string{"gitCommit": commit}
			if changed {
				source.Annotations = map[string]string{"dirty": "true"}
			}
		}
		p.Definition.Dependencies = append(p.Definition.Dependencies, source)
	}
	for _, in := range record.Inputs {
		in.Name, in.Digest = public(in.Name), public(in.Digest)
		if material, ok := materialOf(in); ok {
			p.Definition.Dependencies = append(p.Definition.Dependencies, material)
			continue
		}
		if p.Definition.Internal == nil {
			p.Definition.Internal = &internals{}
		}
		p.Definition.Internal.Inputs = append(p.Definition.Internal.Inputs, in)
	}
	p.Run.Builder.ID = builderID(origin.Builder)
	p.Run.Metadata.Finished = origin.Time.UTC().Truncate(time.Second)
	return json.Marshal(statement)
}

// ParseProvenance reads one of SLSA's predicate, version 1.
func ParseProvenance(document []byte) (Provenance, error) {
	var p Provenance
	if err := json.Unmarshal(document, &p); err != nil {
		return p, fmt.Errorf("provenance: %w", err)
	}
	if p.PredicateType != slsaType {
		return p, fmt.Errorf("provenance: it is %q, not %q", p.PredicateType, slsaType)
	}
	return p, nil
}

// Inputs are what the image was made from.
func (p Provenance) Inputs() []image.Input {
	var inputs []image.Input
	for _, d := range p.Predicate.Definition.Dependencies {
		if d.Name == "input" {
			inputs = append(inputs, image.Input{Kind: d.Annotations["kind"], Name: d.Annotations["name"], Digest: d.Annotations["digest"]})
		}
	}
	if p.Predicate.Definition.Internal != nil {
		inputs = append(inputs, p.Predicate.Definition.Internal.Inputs...)
	}
	return inputs
}

// Origin is where the image came from.
func (p Provenance) Origin() Origin {
	o := Origin{Builder: p.Predicate.Run.Builder.ID, Time: p.Predicate.Run.Metadata.Finished, Branch: p.Branch()}
	for _, d := range p.Predicate.Definition.Dependencies {
		if d.Name == "source" {
			o.Source, o.Commit = strings.TrimPrefix(d.URI, "git+"), d.Digest["gitCommit"]
			if d.Annotations["dirty"] != "" {
				o.Commit += dirty
			}
		}
	}
	return o
}

// Branch is the branch that the image was built from.
func (p Provenance) Branch() string {
	name, _ := p.Predicate.Definition.Parameters["branch"].(string)
	return name
}

// labelledInputs are what a configuration's label says that the image was made
// from.
func labelledInputs(config *v1.ConfigFile) []image.Input {
	var inputs []image.Input
	if json.Unmarshal([]byte(config.Config.Labels[image.LabelInputs]), &inputs) != nil {
		return nil
	}
	return inputs
}

// Differences says in which inputs two builds differ.
func Differences(old, new []image.Input) []string {
	type id struct{ kind, name string }
	before := map[id]string{}
	for _, in := range old {
		before[id{in.Kind, in.Name}] = in.Digest
	}
	var found []string
	say := func(in id, verb string) {
		found = append(found, strings.TrimSpace(strings.TrimSpace(in.kind+" "+in.name)+" "+verb))
	}
	for _, in := range new {
		key := id{in.Kind, in.Name}
		switch digest, ok := before[key]; {
		case !ok:
			say(key, "is new")
		case digest != in.Digest:
			say(key, "changed")
		}
		delete(before, key)
	}
	for _, in := range old {
		if _, ok := before[id{in.Kind, in.Name}]; ok {
			say(id{in.Kind, in.Name}, "is gone")
		}
	}
	return found
}

// Inputs are what a published image was made from; none where the image has no record of them.
func Inputs(ctx context.Context, c *registry.Client, repository name.Repository, img registry.PlatformImage) ([]image.Input, error) {
	config, err := c.Config(ctx, repository, img.Descriptor)
	if err != nil {
		return nil, err
	}
	if inputs := labelledInputs(config); inputs != nil {
		return inputs, nil
	}
	attached, err := c.Referrers(ctx, repository.Digest(img.Descriptor.Digest.String()))
	if err != nil {
		return nil, err
	}
	text, err := c.Document(ctx, repository, attached, TypeProvenance)
	if text == nil || err != nil {
		return nil, err
	}
	p, err := ParseProvenance(text)
	if err != nil {
		return nil, nil // another tool's provenance says nothing of our inputs
	}
	return p.Inputs(), nil
}
