// Package container is the one model of a container for one platform, which every engine takes:
// what goes into it, the lockfile that is installed, and, from both, its build key, record and
// labels.
//
// An engine adds what only it knows (its base image, the version of what it makes of the same
// inputs) and makes the image. Nothing here runs a program or asks a network.
package container

import (
	"fmt"
	"path/filepath"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Container says what an image is made of, for one platform.
type Container struct {
	Name     string
	Platform string        // such as linux/amd64
	Target   string        // the microarchitecture that Spack asks for; empty: that of the machine
	Spack    []byte        // the merged spack.yaml
	Notes    []string      // what was added to the definition's own settings, for people
	Inputs   []image.Input // the files that the definition is made of
	Included []File        // what the environment refers to; targets are relative to it
	Files    []File
	Env      map[string]string
	Labels   map[string]string // of the definition: beside ours, in no place of them
	Epilogue []byte
	Strip    bool
	Test     []string // commands that must succeed in the finished container
	Revision string   // commit of the repository that defines it; empty where it is not known
	Origin   string   // URL of that repository; empty where it is not known

	// What SetLock sets.
	Lock     *buildcache.Lockfile // nil where it is still to be made
	LockText []byte               // the same as it was read
	Roots    []buildcache.Hash    // of Lock, each once, in the definition's order
	Version  string               // of the first root

	// Concretization is the key under which Lock was made; empty where the lockfile was given.
	Concretization string

	recorded    string        // digest of the environment that Lock was made from; empty where it does not say
	environment []image.Input // those of Inputs that the environment refers to

	order func(*buildcache.Lockfile) ([]int, error) // places of the lock's roots in the definition's order; nil: the lock's own
}

// A File is copied into the container.
type File struct {
	Source string // a file or folder on this machine
	Target string // in the container; absolute, where nothing else is said
}

// New returns the container of a Spack environment for a target such as x86_64_v3, without a
// lockfile.
func New(d definition.Definition, target string) (Container, error) {
	if d.Kind == definition.Apptainer {
		return Container{}, fmt.Errorf("it is an Apptainer definition, converted from an image: mage sif:build %s makes a SIF of it", d.Name)
	}
	spack, notes, err := d.Merge(definition.Template(target))
	if err != nil {
		return Container{}, err
	}
	files, err := d.Inputs()
	if err != nil {
		return Container{}, err
	}
	c := Container{
		Name: d.Name, Platform: d.Platform, Target: target, Spack: spack, Notes: notes,
		Env: d.Env, Labels: d.Labels, Epilogue: d.Epilogue, Strip: d.Strip, Test: d.Test,
		order: d.Roots,
	}
	for _, in := range files {
		file := image.Input{Kind: "file", Name: in.Path, Digest: in.Mode.String() + " " + in.SHA256}
		c.Inputs = append(c.Inputs, file)
		if in.Included {
			c.environment = append(c.environment, file)
		}
	}
	for _, f := range d.Included {
		c.Included = append(c.Included, File{Source: filepath.Join(d.Root, f.Source), Target: f.Target})
	}
	for _, f := range d.Files {
		c.Files = append(c.Files, File{Source: filepath.Join(d.Root, f.Source), Target: f.Target})
	}
	return c, nil
}

// String returns the name and the platform, for messages.
func (c Container) String() string { return fmt.Sprintf("%s for %s", c.Name, c.Platform) }
