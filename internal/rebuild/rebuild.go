// Package rebuild compares what is published with what is made of the same lockfile and build cache
// again, and says what differs: an assembled image byte by byte, one that podman has built package
// by package and file by file.
package rebuild

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Result says whether an image is what its lockfile and the build cache make again.
type Result struct {
	Platform    string   `json:"platform"`
	Engine      string   `json:"engine"`             // assemble or podman
	Digest      v1.Hash  `json:"digest"`             // as published
	Again       v1.Hash  `json:"again,omitzero"`     // of what was assembled again
	Same        bool     `json:"same"`               // assemble: to the last byte; podman: all files of all packages
	Packages    int      `json:"packages"`           // that were compared
	Differences []string `json:"differences"`        // sentences
	Records     int      `json:"records,omitempty"`  // podman: files below .spack that differ, which Spack writes anew as it installs
	Stripped    int      `json:"stripped,omitempty"` // podman: programs and libraries without the symbols that they have in the cache
}

// Engine returns what built an image: assemble or podman; "" where its labels do not say.
func Engine(config *v1.ConfigFile) string {
	for _, in := range Inputs(config) {
		if in.Kind == "template" && strings.HasPrefix(in.Digest, "assemble-") {
			return "assemble"
		} else if in.Kind == "template" {
			return "podman"
		}
	}
	return ""
}

// Inputs are what an image says that it is made of; nil where it does not.
func Inputs(config *v1.ConfigFile) []image.Input {
	var inputs []image.Input
	if json.Unmarshal([]byte(config.Config.Labels[image.LabelInputs]), &inputs) != nil {
		return nil
	}
	return inputs
}

// Images returns what differs between two images that should be the same: layers, by what the history
// says that they hold, and the configuration.
func Images(published, again v1.Image) ([]string, error) {
	old, err := published.Manifest()
	if err != nil {
		return nil, err
	}
	now, err := again.Manifest()
	if err != nil {
		return nil, err
	}
	before, err := published.ConfigFile()
	if err != nil {
		return nil, err
	}
	after, err := again.ConfigFile()
	if err != nil {
		return nil, err
	}
	differences := configDiffers(before, after)
	if len(old.Layers) != len(now.Layers) {
		differences = append(differences, fmt.Sprintf("%d layers, and %d when it is built again", len(old.Layers), len(now.Layers)))
	}
	for i := range min(len(old.Layers), len(now.Layers)) {
		if old.Layers[i].Digest != now.Layers[i].Digest {
			differences = append(differences, fmt.Sprintf("layer %d (%s): %s, and %s when it is built again", i+1, holds(after, i), old.Layers[i].Digest, now.Layers[i].Digest))
		}
	}
	return differences, nil
}

// holds is what the history says of a layer.
func holds(config *v1.ConfigFile, layer int) string {
	for _, h := range config.History {
		if h.EmptyLayer {
			continue
		}
		if layer == 0 {
			return strings.TrimPrefix(h.CreatedBy, "spacktainers: ")
		}
		layer--
	}
	return "not described"
}

func configDiffers(old, now *v1.ConfigFile) (differences []string) {
	for _, f := range []struct{ what, old, now string }{
		{"entrypoint", strings.Join(old.Config.Entrypoint, " "), strings.Join(now.Config.Entrypoint, " ")},
		{"command", strings.Join(old.Config.Cmd, " "), strings.Join(now.Config.Cmd, " ")},
		{"user", old.Config.User, now.Config.User},
		{"working directory", old.Config.WorkingDir, now.Config.WorkingDir},
		{"time of creation", old.Created.String(), now.Created.String()},
	} {
		if f.old != f.now {
			differences = append(differences, fmt.Sprintf("%s: %q, and %q when it is built again", f.what, f.old, f.now))
		}
	}
	for _, line := range lost(old.Config.Env, now.Config.Env) {
		differences = append(differences, "environment: "+line+" is not there when it is built again")
	}
	for _, line := range lost(now.Config.Env, old.Config.Env) {
		differences = append(differences, "environment: "+line+" comes when it is built again")
	}
	names := slices.Collect(maps.Keys(old.Config.Labels))
	names = slices.AppendSeq(names, maps.Keys(now.Config.Labels))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if a, b := old.Config.Labels[name], now.Config.Labels[name]; a != b {
			differences = append(differences, fmt.Sprintf("label %s: %.80q, and %.80q when it is built again", name, a, b))
		}
	}
	return differences
}

// lost are the lines of one list that another one has not.
func lost(from, in []string) []string {
	return slices.DeleteFunc(slices.Clone(from), func(line string) bool { return slices.Contains(in, line) })
}
