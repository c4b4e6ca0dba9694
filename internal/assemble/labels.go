package assemble

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// template is the version of what this package makes of its inputs. It goes up
// whenever the same inputs give other bytes, so that images are built anew.
const template = "assemble-1"

// record is what is known of an image before it is made.
func (c Container) record() image.Record {
	sum := sha256.Sum256(c.LockText)
	inputs := c.inputs()
	return image.Record{
		Name:     c.Name,
		Version:  c.Version,
		Platform: c.Platform.String(),
		Engine:   "assemble",
		BuildKey: image.BuildKey(inputs),
		Inputs:   inputs,
		Lock:     hex.EncodeToString(sum[:]),
		Base:     c.Base.Name,
	}
}

// inputs lists everything that decides what the image is. The DAG is in it by
// the hashes of its roots, which cover all that they depend on; the lockfile's
// text is not, since it also names the commit of Spack that wrote it.
func (c Container) inputs() []image.Input {
	inputs := slices.Clone(c.Inputs)
	add := func(kind, name, digest string) {
		inputs = append(inputs, image.Input{Kind: kind, Name: name, Digest: digest})
	}
	add("template", "", template)
	add("platform", "", c.Platform.String())
	add("base", "", c.Base.Name)
	for i, hash := range c.Roots { // their order decides what the view shows
		spec := c.Lock.Specs[hash]
		add("root", fmt.Sprintf("%d %s@%s", i+1, spec.Name, spec.Version), string(hash))
	}
	return inputs
}

// labels describes the image to whoever inspects it later.
func (c Container) labels(record image.Record, packages []*buildcache.Spec) map[string]string {
	var specs []string
	for _, spec := range packages {
		specs = append(specs, spec.String())
	}
	slices.Sort(specs)
	labels := maps.Clone(c.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["org.opencontainers.image.title"] = c.Name
	labels["org.opencontainers.image.version"] = c.Version
	labels[image.LabelBuildKey] = record.BuildKey
	if text, err := json.Marshal(record.Inputs); err == nil {
		labels[image.LabelInputs] = string(text) // so that a later build can say what has changed
	}
	labels[image.LabelLock] = record.Lock
	labels[image.LabelSpecs] = strings.Join(specs, " ")
	if repository, digest, ok := strings.Cut(c.Base.Name, "@"); ok {
		labels["org.opencontainers.image.base.name"] = repository
		labels["org.opencontainers.image.base.digest"] = digest
	}
	return labels
}
