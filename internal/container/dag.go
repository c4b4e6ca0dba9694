package container

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// dagDigest is the digest of a lockfile's whole DAG: the roots in their order, and of each node all
// that Spack decides about it. Order of nodes and edges, and the spelling of the file, are not in
// it.
func dagDigest(lock *buildcache.Lockfile) string {
	type dag struct {
		Roots []buildcache.Hash
		Nodes []node
	}
	var d dag
	for _, root := range lock.Roots {
		d.Roots = append(d.Roots, root.Hash)
	}
	for _, hash := range slices.Sorted(maps.Keys(lock.Specs)) {
		d.Nodes = append(d.Nodes, canonical(lock.Specs[hash]))
	}
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("lockfile of JSON values: %v", err))
	}
	return sum(text)
}

// A node is a spec as the digest has it. Its fields are named, so that a new field of Spec does not
// change build keys.
type node struct {
	Name, Version, Hash, Namespace string
	Platform, OS, Target, Compiler string
	Parameters                     map[string]any // json.Marshal sorts the keys
	PackageHash                    string
	External                       bool
	ExternalPath                   string
	BuildSpec                      string
	Dependencies                   []dependency
}

type dependency struct {
	Name, Hash string
	Types      buildcache.DepTypes
	Virtuals   []string
}

func canonical(s *buildcache.Spec) node {
	n := node{
		Name: s.Name, Version: s.Version, Hash: string(s.Hash), Namespace: s.Namespace,
		Platform: s.Platform, OS: s.OS, Target: s.Target, Compiler: s.Compiler,
		Parameters: s.Parameters, PackageHash: s.PackageHash,
		External: s.External, ExternalPath: s.ExternalPath, BuildSpec: string(s.BuildSpec),
	}
	for _, d := range s.Dependencies {
		virtuals := slices.Clone(d.Virtuals)
		slices.Sort(virtuals)
		n.Dependencies = append(n.Dependencies, dependency{d.Name, string(d.Hash), d.Types, virtuals})
	}
	slices.SortFunc(n.Dependencies, func(a, b dependency) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Hash, b.Hash), cmp.Compare(a.Types, b.Types), slices.Compare(a.Virtuals, b.Virtuals))
	})
	return n
}

// specInputs names each node by version and hash, so that a changed one can be told. Several of one
// package are numbered in the order of their hashes.
func specInputs(lock *buildcache.Lockfile) []image.Input {
	var inputs []image.Input
	count := map[string]int{}
	for _, hash := range slices.Sorted(maps.Keys(lock.Specs)) {
		spec := lock.Specs[hash]
		name := spec.Name
		if count[spec.Name]++; count[spec.Name] > 1 {
			name = fmt.Sprintf("%s %d", spec.Name, count[spec.Name])
		}
		inputs = append(inputs, image.Input{Kind: specKind, Name: name, Digest: spec.Version + "/" + string(hash)})
	}
	return inputs
}

// specKind is the kind of the inputs that only tell which node has changed: all of them are in the
// DAG's digest.
const specKind = "spec"
