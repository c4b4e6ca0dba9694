package definition

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ownLabels are what a build says of its image: a definition that could set them could say it of
// another one.
var ownLabels = []string{
	"org.opencontainers.image.base.digest",
	"org.opencontainers.image.base.name",
	"org.opencontainers.image.created",
	"org.opencontainers.image.ref.name",
	"org.opencontainers.image.revision",
	"org.opencontainers.image.source",
	"org.opencontainers.image.version",
}

// ownPrefix begins the names of all other labels that builds set.
const ownPrefix = "org.openbraininstitute.spacktainers."

// OwnLabel reports whether a label is set by every build, and by no definition. Case does not
// matter: some readers ignore it.
func OwnLabel(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(ownLabels, name) || strings.HasPrefix(name, ownPrefix)
}

// checkLabels refuses names that are ours, or that would become another name on the way into an
// image.
func checkLabels(p *problems, labels *yaml.Node) {
	for key := range entries(labels) {
		switch name := key.Value; {
		case OwnLabel(name):
			p.at(key, "%s is set by the build: leave it out", name)
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("=\"'`$\\", r) }):
			p.at(key, "%q is no name for a label: use letters, digits, '.', '-', '_' and '/'", name)
		}
	}
}
