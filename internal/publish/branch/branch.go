// Package branch turns the name of a git branch into a part of a tag or a file
// name, the same everywhere: what makes such names and what looks for them later
// which branch they belong to must agree.
package branch

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Separator stands between a version and a branch: 1.0__feature-x. Neither
// Slug nor Version returns a text that contains it.
const Separator = "__"

const maxSlug = 60

// Slug writes a branch in lower-case letters, digits, '.', '_' and '-':
// feature/X becomes feature-x. Long ones are cut and end in a piece of a hash,
// so that two branches that begin alike stay apart.
func Slug(branch string) string {
	slug := tidy(strings.ToLower(branch))
	if len(slug) > maxSlug {
		sum := sha256.Sum256([]byte(branch))
		slug = strings.TrimRight(slug[:maxSlug-9], "-._") + "-" + hex.EncodeToString(sum[:4])
	}
	return slug
}

// Version writes a version so that it can be a tag: Spack's git.feature/x=1.0
// becomes git.feature-x-1.0.
func Version(version string) string {
	version = tidy(version)
	return version[:min(len(version), 64)]
}

// Cut parts a tag into its version and the slug of its branch; ok reports whether
// it has one.
func Cut(tag string) (version, slug string, ok bool) { return strings.Cut(tag, Separator) }

// tidy replaces what a tag may not hold by '-', makes runs of separators one,
// and lets none stand at an end.
func tidy(text string) string {
	var b strings.Builder
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' {
			r = '-'
		}
		if last := b.String(); strings.ContainsRune("-_", r) && (strings.HasSuffix(last, "-") || strings.HasSuffix(last, "_")) {
			continue
		}
		b.WriteRune(r)
	}
	return strings.Trim(b.String(), "-._")
}
