package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Store lists and removes what a repository holds. Registries agree on
// neither: the specification knows no list of manifests, and removing is left
// to each.
type Store interface {
	List(context.Context) ([]Stored, error)  // every manifest; errors.ErrUnsupported where the registry has no such list
	RemoveTag(context.Context, string) error // errors.ErrUnsupported where a tag goes only with its manifest
	RemoveManifest(context.Context, v1.Hash) error
}

// A Stored is a manifest as a registry lists it.
type Stored struct {
	Digest v1.Hash
	Tags   []string
	Pushed time.Time // zero where it is not told
}

// Store is what a repository is listed and cleaned up with.
func (c *Client) Store(repository name.Repository) Store {
	host := repository.RegistryStr()
	if account, ok := parseECR(host); ok {
		return ecrStore{c, account, repository, repository.RepositoryStr()}
	}
	if host == ghcr {
		return &ghcrStore{client: c, repository: repository, api: "https://api.github.com"}
	}
	return plainStore{c, repository}
}

// plainStore is any registry that speaks the specification.
type plainStore struct {
	client     *Client
	repository name.Repository
}

func (s plainStore) List(context.Context) ([]Stored, error) { return nil, errors.ErrUnsupported }

func (s plainStore) RemoveTag(ctx context.Context, tag string) error {
	err := s.client.pusher.Delete(ctx, s.repository.Tag(tag))
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented: // as docker-registry 2 answers
		return errors.ErrUnsupported
	}
	return err
}

func (s plainStore) RemoveManifest(ctx context.Context, digest v1.Hash) error {
	return s.client.pusher.Delete(ctx, s.repository.Digest(digest.String()))
}

// ecrStore is Amazon's registry, which has an API of its own for both.
type ecrStore struct {
	client     *Client
	account    ecrAccount
	target     name.Repository
	repository string // its name at Amazon
}

func (s ecrStore) List(ctx context.Context) ([]Stored, error) {
	api, _, err := s.client.keys.ecr.client(ctx, s.client.keys.credentials, s.target)
	if err != nil {
		return nil, err
	}
	var all []Stored
	pages := ecr.NewDescribeImagesPaginator(api, &ecr.DescribeImagesInput{RegistryId: &s.account.id, RepositoryName: &s.repository})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, detail := range page.ImageDetails {
			digest, err := v1.NewHash(aws.ToString(detail.ImageDigest))
			if err != nil {
				return nil, err
			}
			all = append(all, Stored{digest, detail.ImageTags, aws.ToTime(detail.ImagePushedAt)})
		}
	}
	return all, nil
}

func (s ecrStore) RemoveTag(ctx context.Context, tag string) error {
	return s.remove(ctx, types.ImageIdentifier{ImageTag: &tag})
}

func (s ecrStore) RemoveManifest(ctx context.Context, digest v1.Hash) error {
	return s.remove(ctx, types.ImageIdentifier{ImageDigest: aws.String(digest.String())})
}

func (s ecrStore) remove(ctx context.Context, id types.ImageIdentifier) error {
	api, _, err := s.client.keys.ecr.client(ctx, s.client.keys.credentials, s.target)
	if err != nil {
		return err
	}
	reply, err := api.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RegistryId: &s.account.id, RepositoryName: &s.repository, ImageIds: []types.ImageIdentifier{id}})
	if err != nil {
		return err
	}
	for _, failure := range reply.Failures { // inside a reply that says success
		if failure.FailureCode != types.ImageFailureCodeImageNotFound {
			return fmt.Errorf("%s: %s", failure.FailureCode, aws.ToString(failure.FailureReason))
		}
	}
	return nil
}

// ghcrStore is GitHub's registry. Its manifests are versions of a package in
// GitHub's API, which removes them with all their tags or not at all.
type ghcrStore struct {
	client     *Client
	repository name.Repository
	api        string
	base       string // of the package, once it was found
	versions   map[v1.Hash]int64
}

type ghcrVersion struct {
	ID       int64     `json:"id"`
	Digest   string    `json:"name"`
	Updated  time.Time `json:"updated_at"`
	Metadata struct {
		Container struct {
			Tags []string `json:"tags"`
		} `json:"container"`
	} `json:"metadata"`
}

func (s *ghcrStore) RemoveTag(context.Context, string) error { return errors.ErrUnsupported }

func (s *ghcrStore) List(ctx context.Context) ([]Stored, error) {
	owner, pkg, _ := strings.Cut(s.repository.RepositoryStr(), "/")
	s.versions = map[v1.Hash]int64{}
	var all []Stored
	for page := 1; ; page++ {
		var versions []ghcrVersion
		err := errors.ErrUnsupported
		for _, kind := range []string{"orgs", "users"} { // the API does not say which an owner is
			if s.base == "" || strings.Contains(s.base, "/"+kind+"/") {
				base := fmt.Sprintf("%s/%s/%s/packages/container/%s/versions", s.api, kind, url.PathEscape(owner), url.PathEscape(pkg))
				if err = s.call(ctx, http.MethodGet, fmt.Sprintf("%s?per_page=100&page=%d", base, page), &versions); err == nil {
					s.base = base
					break
				}
			}
		}
		if err != nil {
			return nil, err
		}
		before := len(s.versions)
		for _, version := range versions {
			digest, err := v1.NewHash(version.Digest)
			if err != nil {
				return nil, err
			}
			s.versions[digest] = version.ID
			all = append(all, Stored{digest, version.Metadata.Container.Tags, version.Updated})
		}
		if len(versions) < 100 {
			return all, nil
		}
		if len(all) > maxEntries || len(s.versions) <= before {
			return nil, errors.New("the list of versions goes on without an end")
		}
	}
}

func (s *ghcrStore) RemoveManifest(ctx context.Context, digest v1.Hash) error {
	id, ok := s.versions[digest]
	if !ok {
		return nil // it was not listed: it is gone already
	}
	return s.call(ctx, http.MethodDelete, fmt.Sprintf("%s/%d", s.base, id), nil)
}

func (s *ghcrStore) call(ctx context.Context, method, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	token, variable := s.client.keys.credentials.GHCR.Password, "GHCR_TOKEN"
	if named := s.client.keys.credentials.named(s.repository); named != nil {
		token, variable = named.Login.Password, named.Name+"_PASSWORD"
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := s.client.http.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		var told struct {
			Message string `json:"message"`
		}
		_ = json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&told)
		return fmt.Errorf("%s %s: %s: %s: %s needs the scopes read:packages and delete:packages", method, request.URL.Host, response.Status, told.Message, variable)
	}
	if into == nil {
		return nil
	}
	text, err := readBounded(response.Body, "the answer of "+request.URL.Host)
	if err != nil {
		return err // a list that breaks off is none
	}
	return json.Unmarshal(text, into)
}
