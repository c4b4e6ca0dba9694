package registry

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
)

// Tags lists the tags of a repository, without those for machines. A listing
// that breaks off is an error.
func (c *Client) Tags(ctx context.Context, repository name.Repository) ([]string, error) {
	all, err := c.AllTags(ctx, repository)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, IsHelperTag)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// AllTags lists those for machines too.
func (c *Client) AllTags(ctx context.Context, repository name.Repository) ([]string, error) {
	all, err := c.puller.List(ctx, repository)
	if err != nil {
		return nil, c.Explain(repository.RegistryStr(), fmt.Errorf("list the tags of %s: %w", repository, err))
	}
	return all, nil
}

// IsHelperTag says whether a tag is there for machines: a list of referrers
// where the registry has no API for them (sha256-...), or cosign's signature,
// attestation or SBOM of a digest.
func IsHelperTag(tag string) bool { return helperTag.MatchString(tag) }

var helperTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$`)
