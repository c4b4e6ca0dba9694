package buildcache

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// What Spack itself allows in names. They become folders, keys and words of commands: nothing in
// them may lead elsewhere, begin an option, or write to a terminal.
var (
	packageName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)
	namespaceName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)
	archPart      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
	versionText   = regexp.MustCompile(`^[A-Za-z0-9_.=][A-Za-z0-9_.+=/@#%,:~-]*$`)
)

const maxName = 255 // bytes: names become parts of file names

// CheckName refuses what cannot be the name of a package. Its error is ErrFormat.
func CheckName(name string) error {
	if len(name) > maxName || !packageName.MatchString(name) {
		return fmt.Errorf("%w: %.80q cannot be the name of a package", ErrFormat, name)
	}
	return nil
}

// CheckVersion refuses what cannot be a version. A git version such as git.feature/x=1.0 may hold
// slashes, but no part that leads to a parent folder. Its error is ErrFormat.
func CheckVersion(version string) error {
	ok := len(version) <= maxName && versionText.MatchString(version)
	for part := range strings.SplitSeq(version, "/") {
		ok = ok && part != "" && part != "." && part != ".."
	}
	if !ok {
		return fmt.Errorf("%w: %.80q cannot be a version", ErrFormat, version)
	}
	return nil
}

// checkText is for the rest of what a node says in words.
func (n *node) checkText() error {
	if n.Namespace != "" && !namespaceName.MatchString(n.Namespace) {
		return fmt.Errorf("%w: %.80q cannot be a namespace", ErrFormat, n.Namespace)
	}
	for _, part := range []string{n.Arch.Platform, n.Arch.OS, string(n.Arch.Target)} {
		if part != "" && (len(part) > maxName || !archPart.MatchString(part)) {
			return fmt.Errorf("%w: %.80q cannot be a part of an architecture", ErrFormat, part)
		}
	}
	for _, text := range []string{n.compiler(), n.PackageHash} {
		if hasControls(text) {
			return fmt.Errorf("%w: %.80q holds control characters", ErrFormat, text)
		}
	}
	return nil
}

// hasControls reports whether a text holds what is no letter, sign or plain space.
func hasControls(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
