package sif

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/publish/branch"
)

// A Name is what a SIF file is called: NAME__VERSION[__BRANCH][-ARCH].sif.
// Branch is a slug. A file without an architecture is for amd64.
type Name struct {
	Container string
	Version   string
	Branch    string
	Arch      string
}

// Ext ends the names of SIF files.
const Ext = ".sif"

// NewName names the SIF of a container. Version and branch are written as in
// tags of registries; an empty branch is a release.
func NewName(container, version, fromBranch, arch string) (Name, error) {
	n := Name{Container: container, Version: branch.Version(version), Arch: arch}
	if strings.Contains(container, branch.Separator) {
		return Name{}, fmt.Errorf("container %q: %q in a name parts it from the version of its SIF: rename it", container, branch.Separator)
	}
	if !ValidContainer(container) {
		return Name{}, fmt.Errorf("container %q: a name is of small letters and digits, with single '.', '_' or '-' between them", container)
	}
	if n.Version == "" {
		return Name{}, fmt.Errorf("%s has no version to name its SIF after: build the container again", container)
	}
	if fromBranch != "" {
		if n.Branch = branch.Slug(fromBranch); n.Branch == "" {
			return Name{}, fmt.Errorf("branch %q leaves no letter or digit for a file name: rename it", fromBranch)
		}
	}
	return n, nil
}

// arches are the architectures that a name may end in.
var arches = []string{"amd64", "arm64"}

// KnownArch reports whether SIFs are made for an architecture.
func KnownArch(arch string) bool { return slices.Contains(arches, arch) }

var (
	containerName = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)
	nameOfRest    = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// ValidContainer reports whether a container can be called so.
func ValidContainer(name string) bool { return containerName.MatchString(name) }

// String returns the file's name.
func (n Name) String() string {
	stem := n.Container + branch.Separator + n.Version
	if n.Branch != "" {
		stem += branch.Separator + n.Branch
	}
	// amd64 goes without saying, unless the rest would be taken for an architecture.
	if _, arch := CutArch(stem); n.Arch != "amd64" || arch != "" {
		stem += "-" + n.Arch
	}
	return stem + Ext
}

// ParseName reads the name of a file. Predecessors wrote an architecture where
// a branch is, NAME__VERSION__amd64.sif: that is no branch.
func ParseName(file string) (Name, bool) {
	stem, ok := strings.CutSuffix(file, Ext)
	if !ok {
		return Name{}, false
	}
	stem, arch := CutArch(stem)
	container, rest, ok := strings.Cut(stem, branch.Separator)
	version, slug, _ := strings.Cut(rest, branch.Separator)
	if !ok || !ValidContainer(container) || !nameOfRest.MatchString(rest) || version == "" || strings.Contains(slug, branch.Separator) {
		return Name{}, false
	}
	if arch == "" {
		arch = "amd64"
	}
	return Name{Container: container, Version: version, Branch: slug, Arch: arch}, true
}

func CutArch(stem string) (rest, arch string) {
	for _, arch := range arches {
		for _, end := range []string{"-" + arch, branch.Separator + arch} {
			if rest, ok := strings.CutSuffix(stem, end); ok {
				return rest, arch
			}
		}
	}
	return stem, ""
}
