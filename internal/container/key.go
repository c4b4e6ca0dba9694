package container

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// An Engine is what one engine adds to the inputs of a container.
type Engine struct {
	Name     string        // podman or assemble
	Template string        // goes up whenever the same inputs give another image
	Base     Base          // the image below the packages
	Inputs   []image.Input // what else decides the image, if anything
}

// A Base is the image that a container is made on.
type Base struct {
	Name   string // of the repository, or scratch
	Digest string // of the manifest; empty for scratch, or while it is not built yet
	Key    string // its build key where it is one of ours, which stands for it in the container's own
}

func (b Base) String() string { return strings.TrimSuffix(b.Name+"@"+b.Digest, "@") }

// Record returns the record of the image that an engine makes from the container, but for digest
// and log. The container has its lockfile.
func (c Container) Record(e Engine) image.Record {
	inputs := c.inputs(e)
	return image.Record{
		Name: c.Name, Version: c.Version, Platform: c.Platform, Engine: e.Name,
		BuildKey: image.BuildKey(inputs), Inputs: inputs, Lock: sum(c.LockText), Base: e.Base.String(),
		Concretization: c.Concretization,
	}
}

// inputs lists everything that decides what the image is: each file with its mode, the merged
// environment, the platform, the base image, what the engine makes of it, and the whole concrete
// DAG. DAG hashes alone would not do: a lockfile may name any hash for any spec. The lockfile's
// text is not among them, since it also names the commit of the Spack that wrote it.
func (c Container) inputs(e Engine) []image.Input {
	inputs := slices.Concat(c.Inputs, e.Inputs)
	add := func(kind, name, digest string) {
		inputs = append(inputs, image.Input{Kind: kind, Name: name, Digest: digest})
	}
	add("template", "", e.Template)
	add("platform", "", c.Platform)
	add("target", "", c.Target)
	add("environment", "", sum(c.Spack))
	add("base", e.Base.Name, cmp.Or(e.Base.Key, e.Base.Digest))
	for i, hash := range c.Roots { // their order decides what the view shows
		add("root", fmt.Sprintf("%d %s", i+1, c.Lock.Specs[hash].Name), c.Lock.Specs[hash].Version+"/"+string(hash))
	}
	add("dag", "", dagDigest(c.Lock))
	return append(inputs, specInputs(c.Lock)...)
}

// sum is the SHA-256 of a text, in hex.
func sum(text []byte) string {
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:])
}
