// Package definition reads what users write below container_definitions: which
// containers there are, for which platforms, and what goes into each.
//
// It checks everything that can be checked without Spack or a network, reports
// all mistakes at once and where they are, and refuses to guess: what it does
// not know is an error, not ignored. It builds nothing.
package definition

import "go.yaml.in/yaml/v3"

// The folders of a repository in which users work.
const (
	Folder      = "container_definitions" // one folder an architecture, definitions below
	FilesFolder = "spacktainer"           // what the sources of `files` are relative to
)

// A Kind says how a container comes about.
type Kind string

// The kinds of definitions.
const (
	Environment Kind = "environment" // a Spack environment: spack.yaml
	Apptainer   Kind = "apptainer"   // an Apptainer definition file, converted from an image
)

// A Definition is one container for one platform. A container for several
// platforms has one Definition each, under the same name.
//
// All paths are relative to Root and separated by slashes.
type Definition struct {
	Name     string // such as brain-indexer; a valid component of an OCI repository
	Platform string // such as linux/amd64
	Kind     Kind

	Root     string // the repository, as given to Load
	Path     string // the spack.yaml, NAME.yaml or NAME.def
	Dir      string // the folder of Path
	LockPath string // the lockfile beside Path, empty without one

	Spack *yaml.Node `json:"-"` // the user's `spack` mapping, aliases expanded; of an Environment only
	Specs []string   // its specs as written, in order; matrices are only in Spack

	Included []FilePair // what the environment refers to; targets are relative to its spack.yaml

	Files  []FilePair        // copied into the container
	Strip  bool              // strip the installed programs and libraries
	Test   []string          // commands that must succeed in the finished container
	Labels map[string]string // further labels of the image
	Env    map[string]string // further environment of the image

	EpiloguePath string // the Dockerfile.epilogue, empty without one
	Epilogue     []byte // its instructions in plain form, one a line, appended to the last stage

	Bootstrap string // agent of the final stage, such as docker; of an Apptainer definition only
	OSVersion string // that the final stage installs, where its agent installs one
	From      string // what that stage starts from, with registry and namespace
}

// A FilePair is copied from the repository into the container or its build.
type FilePair struct {
	Source string // a file or folder, relative to the repository
	Target string // a path in the container
}

// platforms holds the known architecture folders.
var platforms = map[string]string{
	"amd64": "linux/amd64",
	"arm64": "linux/arm64",
}
