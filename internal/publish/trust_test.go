package publish_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// Whoever may write to a registry can put any bytes under the tag of a build
// key. With the release builder's key they count only if it has signed that they
// are the build of that key.
func TestAnImageOfTheSameKeyIsAdoptedFromTheReleaseBuilderOnly(t *testing.T) {
	s, v := signer(t)
	stranger, _ := signer(t)
	for name, c := range map[string]struct {
		first    *attest.Signer // who signed what is there
		otherKey bool           // as the build of another key
		verifier *attest.Verifier
		adopted  bool
		noKey    bool // nothing is signed by anybody
	}{
		"without a key, writing is trusted":   {adopted: true, noKey: true},
		"unsigned, and we would sign it":      {},
		"unsigned":                            {verifier: v},
		"signed by somebody else":             {first: stranger, verifier: v},
		"signed by the release builder":       {first: s, verifier: v, adopted: true},
		"signed by it as another key's build": {first: s, otherKey: true, verifier: v},
	} {
		t.Run(name, func(t *testing.T) {
			repository, client := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool"), newClient(t, registry.Options{})
			tree := image.Tree(t.TempDir())
			build(t, tree, container{name: "tool", version: "1.0"})
			honest := read(t, tree, "tool")
			inputs := []image.Input(nil)
			if c.otherKey {
				inputs = []image.Input{{Kind: "other"}}
			}
			others := image.Tree(t.TempDir())
			build(t, others, container{name: "tool", version: "0.9", inputs: inputs})
			request := onMain("0.9")
			request.Signer = c.first
			there := push(t, client, repository, read(t, others, "tool"), request)
			if c.otherKey { // moved under the tag of the honest build's key
				index, err := remote.Index(repository.Digest(there.Digest.String()))
				if err == nil {
					err = remote.Tag(repository.Tag("key-"+honest.BuildKey()[:16]), index)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			request = onMain("1.0")
			request.Verifier, request.Signer = c.verifier, s
			if c.noKey {
				request.Signer = nil
			}
			plan := push(t, newClient(t, registry.Options{}), repository, honest, request)
			if plan.Adopted != c.adopted || (plan.Digest == there.Digest) != c.adopted {
				t.Errorf("adopted %v, want %v", plan.Adopted, c.adopted)
			}
			for _, tag := range []string{"1.0", "latest", "key-" + honest.BuildKey()[:16]} {
				head, err := remote.Head(repository.Tag(tag))
				if err != nil || head.Digest != plan.Digest {
					t.Errorf("%s names %v, want %s: %v", tag, head, plan.Digest, err)
				}
			}
			if err := attest.CheckBuild(context.Background(), client, repository, plan.Digest, v, honest.BuildKey()); (err != nil) != c.noKey {
				t.Error(err)
			}
			if err := attest.CheckBuild(context.Background(), client, repository, plan.Digest, v, "another"); !errors.Is(err, attest.ErrUnsigned) {
				t.Errorf("it counts as the build of another key: %v", err)
			}
			if again, err := publish.NewPlan(context.Background(), client, repository, honest, request); err != nil || !again.Empty() {
				t.Errorf("a second publish has work: %+v, %v", again.Tags, err)
			}
		})
	}
}

// A branch writes the one tag that is its own: a build key would be taken for
// a release's, or another branch's.
func TestABranchWritesOneTag(t *testing.T) {
	repository, client := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool"), newClient(t, registry.Options{})
	tree := image.Tree(t.TempDir())
	for _, content := range []string{"first", "second"} {
		build(t, tree, container{name: "tool", version: "1.0", inputs: []image.Input{{Kind: content}}})
		request := publish.Request{Tags: []string{"branch-x"}, Branch: true}
		plan := push(t, client, repository, read(t, tree, "tool"), request)
		if head, err := remote.Head(repository.Tag("branch-x")); err != nil || head.Digest != plan.Digest || plan.Adopted {
			t.Errorf("%s: the tag names %v: %v", content, head, err)
		}
		if again, err := publish.NewPlan(context.Background(), client, repository, read(t, tree, "tool"), request); err != nil || !again.Empty() {
			t.Errorf("%s: a second publish has work: %+v, %v", content, again.Tags, err)
		}
	}
	left := slices.DeleteFunc(tags(t, repository), func(tag string) bool { return strings.HasPrefix(tag, "sha256-") })
	if !slices.Equal(left, []string{"branch-x"}) {
		t.Errorf("tags %q", left)
	}
}

// An image that nobody has signed stands in the way where tags are immutable:
// that is said, and no tag leads to it or is moved.
func TestAnUntrustedImageUnderAnImmutableKeyStops(t *testing.T) {
	s, v := signer(t)
	repository := repositoryOf(t, registrytest.ImmutableTags.Start(t).Host, "tool")
	client := newClient(t, registry.Options{})
	tree, others := image.Tree(t.TempDir()), image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	build(t, others, container{name: "tool", version: "0.9"})
	evil := push(t, client, repository, read(t, others, "tool"), onMain("0.9"))
	honest := read(t, tree, "tool")
	request := onMain("1.0")
	request.Verifier, request.Signer = v, s
	_, err := pushes(newClient(t, registry.Options{}), repository, honest, request)
	if err == nil || !strings.Contains(err.Error(), "key-") || !strings.Contains(err.Error(), "the release builder has not signed, and it cannot be replaced") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if got := tags(t, repository); slices.Contains(got, "1.0") {
		t.Errorf("tags %q", got)
	}
	for _, tag := range []string{"latest", "key-" + honest.BuildKey()[:16]} {
		if head, err := remote.Head(repository.Tag(tag)); err != nil || head.Digest != evil.Digest {
			t.Errorf("%s names %v, want what was there: %v", tag, head, err)
		}
	}
	if err := attest.CheckSignature(t.Context(), client, repository, evil.Digest, v); !errors.Is(err, attest.ErrUnsigned) {
		t.Errorf("what was there is signed: %v", err)
	}
}

// Who may write to one environment's registry does not by that write to the next.
func TestOnlyWhatTheReleaseBuilderSignedIsPromoted(t *testing.T) {
	s, v := signer(t)
	host := registrytest.Memory(t, nil).Host
	from, to, client := repositoryOf(t, host, "tool"), repositoryOf(t, host, "production"), newClient(t, registry.Options{})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	push(t, client, from, read(t, tree, "tool"), onMain("1.0"))
	if _, err := publish.NewPromotion(t.Context(), client, from.Tag("latest"), to, true, v); !errors.Is(err, attest.ErrUnsigned) {
		t.Errorf("got %v", err)
	}
	if _, err := publish.NewPromotion(t.Context(), client, from.Tag("latest"), to, false, nil); err != nil {
		t.Errorf("without a key: %v", err)
	}
	request := onMain("1.0")
	request.Signer = s
	push(t, client, from, read(t, tree, "tool"), request)
	promotion, err := publish.NewPromotion(t.Context(), client, from.Tag("latest"), to, false, v)
	if err == nil {
		err = promotion.Apply(t.Context(), client)
	}
	if err != nil {
		t.Error(err)
	}
}
