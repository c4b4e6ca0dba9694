package targets

import (
	"errors"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// credentials are USER:PASSWORD@ before a host. What a reference to a variable stands for is not here,
// and what follows an image's tag is its digest.
var credentials = regexp.MustCompile(`(?:^|//)[^/\s@:]+:[^/\s@$]+@`)

// checkAddresses refuses credentials in whatever address of a configuration, wherever that stands. It
// comes before all else, which might repeat the address.
func checkAddresses(path string, data []byte) error {
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil {
		return nil // no text that could be read: what is wrong with it is told later
	}
	var errs []error
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for _, at := range credentials.FindAllStringIndex(n.Value, -1) {
			if !strings.HasPrefix(n.Value[at[1]:], "sha256:") {
				errs = append(errs, &yamlstrict.Mistake{Path: path, Line: n.Line, Column: n.Column,
					Message: "credentials do not belong into the address: they are given in the environment, as the README says, or are git's and ssh's own"})
				break
			}
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(&document)
	return errors.Join(errs...)
}
