package container

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// ImageLabels describes the image of a record to people and to later builds. A label that is ours
// and of which nothing is known is empty, not missing: one that the base image or the epilogue set
// would say it of another image. Created is the zero time where the same inputs give the same
// image.
func (c Container) ImageLabels(record image.Record, base Base, created time.Time) map[string]string {
	labels := map[string]string{"org.opencontainers.image.title": c.Name}
	maps.Copy(labels, c.Labels)
	ours := map[string]string{
		"org.opencontainers.image.version":     record.Version,
		"org.opencontainers.image.revision":    c.Revision,
		"org.opencontainers.image.source":      c.Origin,
		"org.opencontainers.image.base.name":   base.Name,
		"org.opencontainers.image.base.digest": base.Digest,
		image.LabelBuildKey:                    record.BuildKey,
		image.LabelInputs:                      InputsLabel(record.Inputs),
		image.LabelLock:                        record.Lock,
		image.LabelSpecs:                       c.specsLabel(),
		image.LabelSpack:                       cmp.Or(c.Lock.Spack.Commit, c.Lock.Spack.Version),
		image.LabelConcretization:              record.Concretization,
	}
	if !created.IsZero() {
		ours["org.opencontainers.image.created"] = created.UTC().Format(time.RFC3339)
	}
	for name := range labels {
		if definition.OwnLabel(name) { // its check refuses them; this is for callers that skip it
			delete(labels, name)
		}
	}
	maps.Copy(labels, ours)
	return labels
}

// specsLabel lists what the image holds: the runtime closure of the roots, without externals.
func (c Container) specsLabel() string {
	var specs []string
	for _, spec := range c.Lock.Closure(c.Roots, buildcache.Runtime) {
		if !spec.External {
			specs = append(specs, spec.String())
		}
	}
	slices.Sort(specs)
	return strings.Join(specs, " ")
}

// maxLabel bounds the label of inputs, in bytes: podman takes a label as one argument, for which
// Linux has 128 KiB.
const maxLabel = 100 << 10

// InputsLabel writes inputs as a label. Where a DAG is too big for one the single nodes are left
// out: its digest stays.
func InputsLabel(inputs []image.Input) string {
	text := marshal(inputs)
	if len(text) > maxLabel {
		text = marshal(slices.DeleteFunc(slices.Clone(inputs), func(in image.Input) bool { return in.Kind == specKind }))
	}
	return text
}

func marshal(inputs []image.Input) string {
	text, err := json.Marshal(inputs)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return string(text)
}
