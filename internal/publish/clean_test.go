package publish_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// branches publishes 1.0 from main and a build of its own from feature/x and
// from other; it returns the digests of the indexes.
func branches(t *testing.T, client *registry.Client, repository name.Repository, when time.Time) map[string]v1.Hash {
	t.Helper()
	tree := image.Tree(t.TempDir())
	digests := map[string]v1.Hash{}
	for _, b := range []string{"main", "feature/x", "other"} {
		build(t, tree, container{name: "tool", version: "1.0", inputs: []image.Input{{Kind: "branch", Digest: b}}})
		ref := publish.Ref{Branch: b, Default: "main"}
		tags, err := ref.Tags("1.0")
		if err != nil {
			t.Fatal(err)
		}
		digests[b] = push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: tags, Origin: attest.Origin{Branch: b, Time: when}}).Digest
	}
	return digests
}

func clean(t *testing.T, client *registry.Client, repository name.Repository, r publish.Retention) publish.Cleaning {
	t.Helper()
	plan, err := publish.NewCleaning(context.Background(), client, repository, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(context.Background(), client); err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestCleanTakesWhatGoneBranchesLeft(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		now := time.Now()
		watch := &seen{inner: http.DefaultTransport}
		repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{Transport: watch})
		digests := branches(t, client, repository, now.Add(-100*time.Hour))
		before := tags(t, repository)
		retention := publish.Retention{Branches: []string{"main", "other"}, Grace: 48 * time.Hour, Now: now}

		watch.take()
		if _, err := publish.NewCleaning(context.Background(), client, repository, retention); err != nil {
			t.Fatal(err)
		}
		if lines, _ := watch.take(); len(lines) > 0 || !slices.Equal(tags(t, repository), before) {
			t.Errorf("a plan writes: %q", lines)
		}
		plan := clean(t, client, repository, retention)
		after := tags(t, repository)
		for _, want := range []string{"1.0", "latest", "1.0__other"} {
			if !slices.Contains(after, want) {
				t.Errorf("%s is gone", want)
			}
			if _, err := publish.Verify(context.Background(), client, repository.Tag(want), nil); err != nil {
				t.Errorf("%s: %v", want, err)
			}
		}
		if slices.Contains(after, "1.0__feature-x") {
			t.Error("1.0__feature-x is still there")
		}
		if keys := strings.Count(strings.Join(after, " "), "key-"); keys != 6 { // two builds of an index and two images
			t.Errorf("%d build keys are left, want 6: %q", keys, after)
		}
		if head, err := remote.Head(repository.Digest(digests["feature/x"].String())); err == nil {
			t.Errorf("the index of feature/x is still there: %v", head)
		}
		if len(plan.Remove) == 0 {
			t.Error("an empty plan")
		}
		if again := clean(t, client, repository, retention); len(again.Remove) > 0 {
			t.Errorf("a second run has work: %+v", again.Remove)
		}
		if locks, err := inspect.Locks(context.Background(), client, repository, false); err != nil || len(locks) != 4 {
			t.Errorf("%d locks: %v", len(locks), err)
		}
	})
}

func TestCleanKeepsWhatIsYoungAndWhatOthersShare(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		now := time.Now()
		repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
		tree := image.Tree(t.TempDir())
		build(t, tree, container{name: "tool", version: "1.0"})
		// The same build from a branch that is gone by now, and from main.
		old := attest.Origin{Branch: "feature/x", Time: now.Add(-100 * time.Hour)}
		index := push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.0__feature-x"}, Origin: old})
		push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
		// An index of the amd64 image alone, from another gone branch: its image is also main's.
		half, err := publish.Read(tree, "tool", []string{"linux/amd64"}, true)
		if err != nil {
			t.Fatal(err)
		}
		push(t, client, repository, half, publish.Request{Tags: []string{"1.0__half"}, Origin: old})
		// And a young one.
		build(t, tree, container{name: "tool", version: "1.0", inputs: []image.Input{{Kind: "young"}}})
		young := push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.0__young"}, Origin: attest.Origin{Branch: "young", Time: now}})

		clean(t, client, repository, publish.Retention{Branches: []string{"main"}, Grace: 48 * time.Hour, Now: now})
		for _, digest := range []v1.Hash{index.Digest, young.Digest} {
			if _, err := publish.Verify(context.Background(), client, repository.Digest(digest.String()), nil); err != nil {
				t.Error(err)
			}
		}
		if verified, err := publish.Verify(context.Background(), client, repository.Tag("latest"), nil); err != nil || len(verified.Platforms) != 2 || verified.Attached != 8 {
			t.Errorf("latest: %+v, %v", verified, err)
		}
	})
}

func TestCleanGivesWayToAPush(t *testing.T) {
	now := time.Now()
	repository, client := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool"), newClient(t, registry.Options{})
	digests := branches(t, client, repository, now.Add(-100*time.Hour))
	plan, err := publish.NewCleaning(context.Background(), client, repository, publish.Retention{Branches: []string{"main"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(repository.Digest(digests["other"].String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Tag(repository.Tag("2.0"), index); err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(context.Background(), client); err == nil || !strings.Contains(err.Error(), "2.0") {
		t.Errorf("got %v", err)
	}
	if _, err := publish.Verify(context.Background(), client, repository.Tag("2.0"), nil); err != nil {
		t.Error(err)
	}
}

func TestCleanWithoutBranchesIsAnError(t *testing.T) {
	repository, client := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool"), newClient(t, registry.Options{})
	branches(t, client, repository, time.Now().Add(-100*time.Hour))
	if plan, err := publish.NewCleaning(context.Background(), client, repository, publish.Retention{Now: time.Now()}); err == nil || !strings.Contains(err.Error(), "no branch exists") {
		t.Errorf("got %+v, %v", plan, err)
	}
}

// github is GitHub's list of a package's versions, over a registry that it
// deletes from.
type github struct {
	t        *testing.T
	versions []map[string]any
	deleted  []string
}

func (g *github) add(digest v1.Hash, age time.Duration, tags ...string) {
	g.versions = append(g.versions, map[string]any{
		"id": len(g.versions) + 1, "name": digest.String(), "updated_at": time.Now().Add(-age).UTC().Format(time.RFC3339),
		"metadata": map[string]any{"container": map[string]any{"tags": append([]string{}, tags...)}},
	})
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+canary:
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(path, "/orgs/"):
		w.WriteHeader(http.StatusNotFound) // the owner is a user
	case r.Method == http.MethodGet && path == "/users/org/packages/container/spack-tool/versions":
		page := g.versions
		if r.URL.Query().Get("page") != "1" {
			page = nil
		}
		_ = json.NewEncoder(w).Encode(page)
	case r.Method == http.MethodDelete:
		var id int
		if _, err := fmt.Sscanf(path, "/users/org/packages/container/spack-tool/versions/%d", &id); err != nil {
			g.t.Errorf("%s: %v", path, err)
		}
		g.deleted = append(g.deleted, g.versions[id-1]["name"].(string))
		w.WriteHeader(http.StatusNoContent)
	default:
		g.t.Errorf("unexpected %s %s", r.Method, path)
	}
}

// split sends api.github.com to one server and all else to another.
type split struct{ api, registry lands }

func (s *split) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "api.github.com" {
		return s.api.RoundTrip(r)
	}
	return s.registry.RoundTrip(r)
}

func TestGHCRUntaggedManifestsGoUnlessSomethingNamesThem(t *testing.T) {
	noOtherLogin(t)
	service := httptest.NewServer(quietRegistry())
	defer service.Close()
	api := &github{t: t}
	apiServer := httptest.NewServer(api)
	defer apiServer.Close()
	transport := &split{lands{server: apiServer}, lands{server: service}}
	client := newClient(t, registry.Options{Transport: transport, Credentials: registry.Credentials{GHCR: registry.Login{User: "me", Password: canary}}})
	repository, err := registry.Registry{Prefix: "ghcr.io/org/spack-"}.Repository("tool")
	if err != nil {
		t.Fatal(err)
	}
	old := 100 * time.Hour
	tree := image.Tree(t.TempDir())
	all := map[string]publish.Release{}
	for _, v := range []string{"1.0", "stray", "fresh"} {
		build(t, tree, container{name: "tool", version: v, inputs: []image.Input{{Kind: v}}, platforms: []string{"linux/amd64"}})
		release := read(t, tree, "tool")
		all[v] = release
		age := old
		if v == "fresh" {
			age = time.Hour
		}
		plan := push(t, client, repository, release, publish.Request{Tags: []string{v}, Origin: attest.Origin{Time: time.Now().Add(-age)}})
		labels := []string{v}
		if v != "1.0" {
			labels = nil
		}
		api.add(plan.Digest, age, labels...)
		api.add(release.Images[0].Record.Digest, old)
	}
	// Tags of stray and fresh were moved away: what they named is untagged now.
	for _, tag := range tagsIfAny(strings.Replace(repository.String(), "ghcr.io", strings.TrimPrefix(service.URL, "http://"), 1)) {
		keep := tag == "1.0" || strings.HasPrefix(tag, "sha256-")
		if !keep {
			request, _ := http.NewRequest(http.MethodDelete, service.URL+"/v2/org/spack-tool/manifests/"+tag, nil)
			if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode >= 300 {
				t.Fatalf("%v, %v", response, err)
			}
		}
	}
	clean(t, client, repository, publish.Retention{Branches: []string{"main"}, Grace: 48 * time.Hour, Now: time.Now()})
	gone := func(v string) bool { return slices.Contains(api.deleted, all[v].Images[0].Record.Digest.String()) }
	if !gone("stray") || gone("1.0") || gone("fresh") {
		t.Errorf("deleted %q: stray %v, 1.0 %v, fresh %v", api.deleted, gone("stray"), gone("1.0"), gone("fresh"))
	}
}
