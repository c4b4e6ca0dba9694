package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
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
	all, err := c.allTags(ctx, repository)
	if err != nil {
		return nil, c.Explain(repository, fmt.Errorf("list the tags of %s: %w", repository, err))
	}
	return all, nil
}

func (c *Client) allTags(ctx context.Context, repository name.Repository) ([]string, error) {
	first, err := c.read(ctx, repository, at(repository, "tags/list?n=1000"), "application/json") // Amazon's limit
	if err != nil {
		return nil, err
	}
	defer first.Body.Close()
	if err := transport.CheckError(first, http.StatusOK); err != nil {
		return nil, err
	}
	var all []string
	seen := map[string]bool{}
	err = c.list(ctx, repository, first, "application/json", func(text []byte) (entries, fresh int, err error) {
		var list struct {
			Tags *[]string `json:"tags"`
		}
		if err := json.Unmarshal(text, &list); err != nil {
			return 0, 0, fmt.Errorf("it is no list of tags: %w", err)
		}
		if list.Tags == nil {
			return 0, 0, nil
		}
		for _, tag := range *list.Tags {
			if !seen[tag] {
				seen[tag] = true
				all = append(all, tag)
				fresh++
			}
		}
		return len(*list.Tags), fresh, nil
	})
	return all, err
}

// IsHelperTag reports whether a tag is there for machines: a list of referrers
// where the registry has no API for them (sha256-...), or cosign's signature,
// attestation or SBOM of a digest.
func IsHelperTag(tag string) bool { return helperTag.MatchString(tag) }

var helperTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$`)
