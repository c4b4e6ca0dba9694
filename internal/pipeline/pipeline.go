// Package pipeline plans what is to be built where one machine is not enough, as one graph of
// steps, and writes pipelines for engines that exist: they schedule, we plan.
//
// A graph is made from lockfiles and indexes alone, and is a value: it runs nothing, asks nothing
// and writes nothing.
package pipeline

import (
	"slices"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
)

// A Kind says what a step does.
type Kind string

// The kinds of steps, in the order in which they follow each other.
const (
	BaseImage      Kind = "base"      // makes a base image, such as builder
	Concretization Kind = "lock"      // makes the lockfile of a container that has none
	Package        Kind = "package"   // builds a package and pushes it to the platform's mirror
	Index          Kind = "index"     // makes the index of the platform's mirror anew, once all packages are there
	Image          Kind = "container" // makes a container's image for one platform
	Publication    Kind = "publish"   // publishes a container for all its platforms under one index
	SIF            Kind = "sif"       // makes and uploads the SIF of a container for one platform
)

// Kinds lists all kinds in the order in which they follow each other.
var Kinds = []Kind{BaseImage, Concretization, Package, Index, Image, Publication, SIF}

// A Step is one thing that is to be done, once.
type Step struct {
	ID       string          `json:"id"` // KIND:PLATFORM:HASH of packages, KIND:PLATFORM:NAME of others; publish:NAME
	Kind     Kind            `json:"kind"`
	Name     string          `json:"name"` // of the package, the container or the base image; of an index mirror
	Version  string          `json:"version,omitempty"`
	Platform string          `json:"platform,omitempty"` // such as linux/amd64; empty: for all
	Hash     buildcache.Hash `json:"hash,omitempty"`     // of a package, as the mirror will have it

	Containers []string `json:"containers,omitempty"` // that want a package or base image, by name; sorted
	Needs      []string `json:"needs"`                // IDs of the steps that must be done before; sorted
	Why        []string `json:"why"`

	Path string `json:"path,omitempty"` // the lockfile that a step makes, relative to the repository

	Seconds float64 `json:"seconds"`         // estimate of the time that it takes
	Bytes   int64   `json:"bytes,omitempty"` // of the image that is there now; 0: not known

	Diff *inspect.Diff `json:"diff,omitempty"` // of a container: from what is published; absent where nothing is, or where it was not asked for
}

// Time is the estimate of the time that the step takes.
func (s Step) Time() time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }

// Shared reports whether two or more containers want the step's result.
func (s Step) Shared() bool { return len(s.Containers) > 1 }

// FromFile reports whether the step makes a SIF of an Apptainer definition file, which needs no
// container.
func (s Step) FromFile() bool { return s.Kind == SIF && len(s.Needs) == 0 }

// A Graph is all that is to be done. Nothing in it is to be changed.
type Graph struct {
	Steps    []Step   `json:"steps"`         // each behind all that it needs
	Critical []string `json:"critical_path"` // IDs of the steps that take longest one after the other
	Seconds  float64  `json:"seconds"`       // of the critical path: no number of machines is faster
	Work     float64  `json:"work"`          // seconds of all steps together

	UpToDate int `json:"up_to_date"` // containers, each platform counted, for which nothing is to be done
	Cached   int `json:"cached"`     // packages that containers to be built need and mirrors have, each platform counted
	Unneeded int `json:"unneeded"`   // packages that only containers which are up to date want, and mirrors do not have

	byID map[string]int
}

// Empty reports whether there is nothing to do.
func (g *Graph) Empty() bool { return len(g.Steps) == 0 }

// Step returns the step of an ID.
func (g *Graph) Step(id string) (s Step, ok bool) {
	i, ok := g.byID[id]
	if !ok {
		return Step{}, false
	}
	return g.Steps[i], true
}

// Of returns the steps of a kind in the graph's order, for one platform or, where that is empty,
// for all.
func (g *Graph) Of(kind Kind, platform string) []Step {
	var found []Step
	for _, s := range g.Steps {
		if s.Kind == kind && (platform == "" || s.Platform == platform) {
			found = append(found, s)
		}
	}
	return found
}

// Platforms lists the platforms for which there is something to do, sorted.
func (g *Graph) Platforms() []string {
	var found []string
	for _, s := range g.Steps {
		if s.Platform != "" {
			found = append(found, s.Platform)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func packageID(platform string, hash buildcache.Hash) string {
	return stepID(Package, platform, string(hash))
}

func stepID(kind Kind, platform, name string) string {
	if platform == "" {
		return string(kind) + ":" + name
	}
	return string(kind) + ":" + platform + ":" + name
}
