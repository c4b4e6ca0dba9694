// Package buildcache reads what a Spack build cache is made of: specs,
// lockfiles, and the two layouts in which Spack stores binary packages (v2 up
// to Spack 0.23, v3 since Spack 1.0).
//
// It refuses to guess. Whatever cannot be read is an error that names the
// object; a reader of a damaged cache learns so before it uses a byte of it.
package buildcache

import "strings"

// DepTypes is the set of reasons for which one spec depends on another.
type DepTypes uint8

// Spack's dependency types.
const (
	Build DepTypes = 1 << iota
	Link
	Run
	Test
)

// String returns the types as Spack lists them, such as "build,link".
func (t DepTypes) String() string {
	var names []string
	for i, name := range []string{"build", "link", "run", "test"} {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Runtime selects the edges that a program needs when it runs.
const Runtime = Link | Run

// A Dependency is an edge of the DAG.
type Dependency struct {
	Name     string
	Hash     Hash
	Types    DepTypes
	Virtuals []string // what the dependency provides here, such as "mpi"
}

// A Spec is one node of a concrete DAG, as lockfiles, spec files and indexes
// store it.
type Spec struct {
	Hash         Hash
	Name         string
	Version      string
	Platform     string // linux
	OS           string // debian12
	Target       string // x86_64_v3
	Compiler     string // gcc@12.2.0; empty since Spack 1.0, where compilers are dependencies
	Namespace    string
	Parameters   map[string]any // variants and compiler flags, as decoded from JSON
	PackageHash  string
	External     bool   // provided by the system: never in a cache
	ExternalPath string // where, for an external
	BuildSpec    Hash   // for a spliced spec: the spec whose binary is fetched
	Dependencies []Dependency
}

// BinaryHash returns the hash under which a cache holds the binary: that of
// the build spec for a spliced spec, the spec's own for all others.
func (s *Spec) BinaryHash() Hash {
	if s.BuildSpec != "" {
		return s.BuildSpec
	}
	return s.Hash
}

// String returns name@version/hash with the first seven characters of the
// hash, as Spack abbreviates it.
func (s *Spec) String() string {
	hash := s.Hash
	if len(hash) > 7 {
		hash = hash[:7]
	}
	return s.Name + "@" + s.Version + "/" + string(hash)
}
