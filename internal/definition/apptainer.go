package definition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// agents are the bootstrap agents that start from an image of a registry.
var agents = []string{"docker", "oras"}

// A stage is the header of one stage of an Apptainer definition file.
type stage struct {
	values map[string]string // by lower-case key
	lines  map[string]int
}

// parseStages reads the headers of a definition file as Apptainer does: each
// Bootstrap begins a stage, wherever it stands, and its header lasts until the
// first section.
func parseStages(data []byte) (stages []stage) {
	header := false
	for i, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "%") {
			header = false
			continue
		}
		line, _, _ = strings.Cut(" "+line, " #")
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if key == "bootstrap" {
			stages = append(stages, stage{map[string]string{}, map[string]int{}})
			header = true
		}
		if header {
			last := stages[len(stages)-1]
			last.values[key], last.lines[key] = value, i+1
		}
	}
	return stages
}

// image is what a stage starts from, with the registry and the namespace that
// may stand in keys of their own.
func (s stage) image() string {
	var parts []string
	for _, key := range []string{"registry", "namespace", "from"} {
		if value := strings.Trim(s.values[key], "/"); value != "" {
			parts = append(parts, value)
		}
	}
	return strings.Join(parts, "/")
}

// readApptainer reads a definition file into d. The final stage counts: it is
// what ships, the others only lend it files.
func readApptainer(p *problems, data []byte, d *Definition) {
	stages := parseStages(data)
	if len(stages) == 0 {
		p.add(1, 1, "no Bootstrap: begin with 'Bootstrap: docker' and 'From: IMAGE:TAG'")
		return
	}
	for _, s := range stages {
		agent := strings.ToLower(s.values["bootstrap"])
		switch {
		case agent == "":
			p.add(s.lines["bootstrap"], 1, "Bootstrap names no agent: write 'Bootstrap: docker'")
		case !slices.Contains(agents, agent):
		case s.values["from"] == "":
			line := max(s.lines["from"], s.lines["bootstrap"])
			p.add(line, 1, "no image: a stage with 'Bootstrap: %s' needs 'From: IMAGE:TAG'", agent)
		default:
			if _, err := imageVersion(s.image()); err != nil {
				p.add(s.lines["from"], 1, "From: %v", err)
			}
		}
		d.Bootstrap, d.From = agent, s.image()
	}
}

// ImageVersion returns the version of a container that is converted from an
// image of a registry: its tag, the beginning of its digest if it has only
// that, or latest.
func (d Definition) ImageVersion() (string, error) {
	if d.Kind != Apptainer || !slices.Contains(agents, d.Bootstrap) {
		return "", fmt.Errorf("version of %s: %s starts from no image of a registry ('Bootstrap: %s'): its version is unknown", d.Name, d.Path, d.Bootstrap)
	}
	version, err := imageVersion(d.From)
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", d.Name, err)
	}
	return version, nil
}

func imageVersion(image string) (string, error) {
	if _, err := name.ParseReference(image); err != nil {
		return "", err
	}
	tagged, digest, byDigest := strings.Cut(image, "@")
	tag, err := name.NewTag(tagged, name.WithDefaultTag(""))
	switch {
	case err != nil:
		return "", err
	case tag.TagStr() != "":
		return tag.TagStr(), nil
	case byDigest:
		algorithm, hex, _ := strings.Cut(digest, ":")
		return algorithm + "-" + hex[:min(12, len(hex))], nil
	}
	return name.DefaultTag, nil
}
