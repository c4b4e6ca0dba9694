package publish_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// Whatever a registry does otherwise than it should, all that is done with one
// works: nothing is lost, and what is attached is found.
func TestRegistriesAsTheyAre(t *testing.T) {
	for _, quirk := range registrytest.Quirks() {
		t.Run(quirk.Name, func(t *testing.T) {
			t.Parallel()
			worksWith(t, quirk.Start(t).Host)
		})
	}
}

func worksWith(t *testing.T, host string) {
	t.Helper()
	ctx, now := context.Background(), time.Now()
	client := newClient(t, registry.Options{Retry: registry.Retry{Attempts: 6, First: time.Millisecond, Longest: 20 * time.Millisecond}})
	repository := repositoryOf(t, host, "tool")
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	release := read(t, tree, "tool")
	// A branch that is gone shares the amd64 image.
	half, err := publish.Read(tree, "tool", []string{"linux/amd64"}, true)
	if err != nil {
		t.Fatal(err)
	}
	old := attest.Origin{Branch: "gone", Time: now.Add(-100 * time.Hour)}
	push(t, client, repository, half, publish.Request{Tags: []string{"1.0__gone"}, Origin: old})
	request := onMain("1.0")
	request.Origin = attest.Origin{Branch: "main", Time: now.Add(-100 * time.Hour)}
	pushed := push(t, client, repository, release, request)

	if again, err := publish.NewPlan(ctx, newClient(t, registry.Options{}), repository, release, request); err != nil || !again.Empty() {
		t.Errorf("a second publish has work: %+v, %v", again.Tags, err)
	}
	shown, err := inspect.Show(ctx, client, repository.Tag("latest"))
	if err != nil || len(shown.Images) != 2 || slices.ContainsFunc(shown.Images, func(i inspect.ShownImage) bool { return len(i.Attached) != 4 || len(i.Specs) == 0 }) {
		t.Errorf("shown %+v, %v", shown, err)
	}
	whole := func(what string, verified publish.Verified, err error) {
		t.Helper()
		if err != nil || verified.Digest != pushed.Digest || len(verified.Platforms) != 2 || verified.Attached != 8 {
			t.Errorf("%s: %+v, %v", what, verified, err)
		}
	}
	verified, err := publish.Verify(ctx, client, repository.Tag("latest"), nil)
	whole("verify", verified, err)
	to := repositoryOf(t, host, "production/tool")
	promotion, err := publish.NewPromotion(ctx, client, repository.Tag("latest"), to, false, nil)
	if err == nil {
		err = promotion.Apply(ctx, client)
	}
	if err != nil {
		t.Fatal(err)
	}
	verified, err = publish.Verify(ctx, client, to.Tag("1.0"), nil)
	whole("promoted", verified, err)

	clean(t, client, repository, publish.Retention{Branches: []string{"main"}, Grace: time.Hour, Now: now})
	left, err := client.AllTags(ctx, repository)
	if err != nil || slices.Contains(left, "1.0__gone") || !slices.Contains(left, "latest") {
		t.Errorf("clean leaves %q, %v", left, err)
	}
	verified, err = publish.Verify(ctx, client, repository.Tag("latest"), nil)
	whole("after cleaning up", verified, err)

	base, err := client.Pull(ctx, repository.Tag("latest").String(), v1.Platform{OS: "linux", Architecture: "arm64"})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := base.Digest()
	record, readErr := tree.Read("tool", "linux/arm64")
	if err != nil || readErr != nil || digest != record.Digest {
		t.Errorf("as a base it is %s, want %s: %v, %v", digest, record.Digest, err, readErr)
	}
}

// The same publish from two places at once leaves all documents listed.
func TestTwoPublishesAtOnce(t *testing.T) {
	repository := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool")
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	release := read(t, tree, "tool")
	errs := make(chan error)
	for range 2 {
		client := newClient(t, registry.Options{Retry: registry.Retry{Attempts: 8, First: time.Millisecond, Longest: 20 * time.Millisecond}})
		go func() {
			_, err := pushes(client, repository, release, onMain("1.0"))
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, built := range release.Images {
		attached, err := newClient(t, registry.Options{}).Referrers(context.Background(), repository.Digest(built.Record.Digest.String()))
		kinds := map[string]bool{}
		for _, d := range attached {
			kinds[d.ArtifactType] = true
		}
		if err != nil || len(kinds) != 4 {
			t.Errorf("%s has %v, %v", built.Record.Platform, kinds, err)
		}
	}
}

func TestARegistryWithoutArtifacts(t *testing.T) {
	server := registrytest.NoArtifacts.Start(t)
	repository, client := repositoryOf(t, server.Host, "tool"), newClient(t, registry.Options{})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	_, err := pushes(client, repository, read(t, tree, "tool"), onMain("1.0"))
	if err == nil || !strings.Contains(err.Error(), "--documents=none") {
		t.Fatalf("got %v", err)
	}
	if left := tagsIfAny(repository.String()); len(left) > 0 {
		t.Errorf("tags %q", left)
	}
	request := onMain("1.0")
	request.NoDocuments = true
	push(t, client, repository, read(t, tree, "tool"), request)
	if verified, err := publish.Verify(context.Background(), client, repository.Tag("latest"), nil); err != nil || len(verified.Platforms) != 2 || verified.Attached != 0 {
		t.Errorf("%+v, %v", verified, err)
	}
}

func TestImmutableTagsAreToldAsSuch(t *testing.T) {
	server := registrytest.ImmutableLatest.Start(t)
	repository, client := repositoryOf(t, server.Host, "tool"), newClient(t, registry.Options{})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
	build(t, tree, container{name: "tool", version: "2.0", inputs: []image.Input{{Kind: "new"}}})
	_, err := pushes(client, repository, read(t, tree, "tool"), onMain("2.0"))
	if err == nil || !strings.Contains(err.Error(), "immutable") || !strings.Contains(err.Error(), "latest") {
		t.Errorf("got %v", err)
	}
}

// A list of tags that says nothing is no reason to take anything for unused.
func TestNothingIsRemovedByAListOfTagsThatIsNull(t *testing.T) {
	for _, wanted := range [][]string{{"1.0", publish.Latest}, {"1.0"}, {"branch-gone"}} {
		repository, client := repositoryOf(t, registrytest.NullTags.Start(t).Host, "tool"), newClient(t, registry.Options{})
		tree := image.Tree(t.TempDir())
		build(t, tree, container{name: "tool", version: "1.0"})
		push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: wanted})
		plan, err := publish.NewCleaning(t.Context(), client, repository, publish.Retention{Branches: []string{"main"}, Scoped: true, Now: time.Now().AddDate(1, 0, 0)})
		if slices.Contains(wanted, publish.Latest) != (err != nil) || err != nil && !strings.Contains(err.Error(), "lacks latest, which is there") {
			t.Errorf("%q: got %v", wanted, err)
		}
		if len(plan.Remove) > 0 {
			t.Errorf("%q: it would remove %+v", wanted, plan.Remove)
		}
		if _, err := publish.Verify(t.Context(), client, repository.Tag(wanted[0]), nil); err != nil {
			t.Errorf("%q: %v", wanted, err)
		}
	}
}

// A registry that takes documents and lists none of them has lost them.
func TestDocumentsThatAreNotListedAreAnError(t *testing.T) {
	for _, quirk := range []registrytest.Quirk{registrytest.ListsNothing, registrytest.FallbackIsTheSubject} {
		t.Run(quirk.Name, func(t *testing.T) {
			repository, client := repositoryOf(t, quirk.Start(t).Host, "tool"), newClient(t, registry.Options{})
			tree := image.Tree(t.TempDir())
			build(t, tree, container{name: "tool", version: "1.0"})
			_, err := pushes(client, repository, read(t, tree, "tool"), onMain("1.0"))
			if err == nil || !strings.Contains(err.Error(), "does not list") {
				t.Errorf("got %v", err)
			}
			if left := tagsIfAny(repository.String()); slices.Contains(left, "latest") {
				t.Errorf("tags %q", left)
			}
		})
	}
}
