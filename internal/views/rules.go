package views

import (
	"strconv"
	"strings"
)

// The rules by which a Spack makes views. They have changed with its releases:
//
//   - 0.22: dependents before their dependencies, and a link and the file that
//     it leads to are no conflict;
//   - 0.23: views with Python are virtual environments;
//   - 1.0: breadth first among the packages that are free to come next, and a
//     link to the folder that it meets gives way to it;
//   - 1.2: all packages are merged folder by folder; a folder that only one of
//     them has becomes a link, and the view's root is a folder, not a link.
//
// Development versions (1.2.0.dev0) come before their release.
type rules struct {
	dependentsFirst bool // since 0.22
	makesVenvs      bool // since 0.23
	breadthFirst    bool // since 1.0
	mergesFolders   bool // since 1.2
}

// rulesOf returns the rules of the Spack that wrote a lockfile. Where the
// lockfile does not say (they do since 0.18) it is 0.23's.
func rulesOf(version string) rules {
	if version == "" {
		version = "0.23"
	}
	return rules{
		dependentsFirst: atLeast(version, 0, 22),
		makesVenvs:      atLeast(version, 0, 23),
		breadthFirst:    atLeast(version, 1, 0),
		mergesFolders:   atLeast(version, 1, 2),
	}
}

// atLeast reports whether a Spack version is MAJOR.MINOR or newer.
func atLeast(version string, major, minor int) bool {
	number, _, _ := strings.Cut(version, " ")
	parts := strings.Split(number, ".")
	numbers := [3]int{}
	for i := range min(len(parts), 3) {
		numbers[i], _ = strconv.Atoi(parts[i])
	}
	isRelease := !strings.Contains(number, "dev")
	switch {
	case numbers[0] != major:
		return numbers[0] > major
	case numbers[1] != minor:
		return numbers[1] > minor
	}
	return isRelease || numbers[2] > 0
}

// Rules names the rules by which the Spack that wrote a lockfile makes views.
// Two with one name make the same of the same packages.
func Rules(version string) string {
	switch r := rulesOf(version); {
	case r.mergesFolders:
		return "spack-1.2"
	case r.breadthFirst:
		return "spack-1.0"
	case r.makesVenvs:
		return "spack-0.23"
	case r.dependentsFirst:
		return "spack-0.22"
	}
	return "spack-0.18"
}
