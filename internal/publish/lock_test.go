package publish_test

import (
	"bytes"
	"context"
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

var key = strings.Repeat("a1b2", 16)

// concretized puts a container into a tree whose lockfile was concretized under a key.
func concretized(t *testing.T, key, lock string) publish.Release {
	t.Helper()
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0", platforms: []string{"linux/amd64"}, lock: lock,
		inputs: []image.Input{{Kind: "dag", Digest: lock}}, labels: map[string]string{image.LabelConcretization: key}})
	return read(t, tree, "tool")
}

func TestALockfileIsFoundByItsKey(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
		find := func(key string) []byte {
			t.Helper()
			text, err := publish.Lock(context.Background(), newClient(t, registry.Options{}), repository, key, nil)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if find(key) != nil {
			t.Error("found before it was published")
		}
		push(t, client, repository, concretized(t, key, lockA), onMain("1.0"))
		if !bytes.Equal(find(key), lockText(t, lockA)) {
			t.Error("not the lockfile that was published")
		}
		for _, other := range []string{strings.Repeat("c", 64), key[:16] + strings.Repeat("c", 48)} {
			if find(other) != nil {
				t.Errorf("found under %s, too", other)
			}
		}
		// Two that concretize at the same time may find different lockfiles: the first that was
		// published stays.
		request := onMain("1.0")
		request.Force = true
		push(t, client, repository, concretized(t, key, lockB), request)
		if !bytes.Equal(find(key), lockText(t, lockA)) {
			t.Error("the second lockfile took the place of the first")
		}
		// A branch's never counts, and a lockfile that was given has no key.
		branch := publish.Request{Tags: []string{"branch-x"}, Branch: true}
		push(t, client, repository, concretized(t, strings.Repeat("d", 64), lockB), branch)
		push(t, client, repository, concretized(t, "", lockB), request)
		if list := slices.DeleteFunc(tags(t, repository), func(tag string) bool { return !strings.HasPrefix(tag, "lock-") }); len(list) != 1 {
			t.Errorf("tags %q", list)
		}
	})
}

// Whoever may write to a registry can write the tag, and what it names. With the release builder's
// key only a lockfile counts whose image it has signed and that says this key; and the next release
// puts its own in the place of what does not.
func TestALockfileCountsFromTheReleaseBuilderOnly(t *testing.T) {
	s, v := signer(t)
	stranger, _ := signer(t)
	for name, c := range map[string]struct {
		by       *attest.Signer
		key      string // that the image says
		verifier *attest.Verifier
		counts   bool
	}{
		"without a key, writing is trusted":     {key: key, counts: true},
		"unsigned":                              {key: key, verifier: v},
		"signed by somebody else":               {by: stranger, key: key, verifier: v},
		"signed by the release builder":         {by: s, key: key, verifier: v, counts: true},
		"signed, and of another concretization": {by: s, key: strings.Repeat("c", 64), verifier: v},
		"of another concretization":             {key: strings.Repeat("c", 64)},
	} {
		t.Run(name, func(t *testing.T) {
			repository, client := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool"), newClient(t, registry.Options{})
			release := concretized(t, c.key, lockA)
			request := onMain("1.0")
			request.Signer = c.by
			push(t, client, repository, release, request)
			img, err := remote.Image(repository.Digest(release.Images[0].Record.Digest.String()))
			if err == nil {
				err = remote.Tag(repository.Tag("lock-"+key[:16]), img)
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := publish.Lock(context.Background(), client, repository, key, c.verifier)
			if err != nil || (text != nil) != c.counts {
				t.Errorf("counts: %v, want %v: %v", text != nil, c.counts, err)
			}
			request = onMain("2.0")
			request.Verifier, request.Force = c.verifier, true
			if c.verifier != nil {
				request.Signer = s
			}
			push(t, newClient(t, registry.Options{}), repository, concretized(t, key, lockB), request)
			want := lockText(t, lockB)
			if c.counts {
				want = lockText(t, lockA)
			}
			if text, err = publish.Lock(context.Background(), newClient(t, registry.Options{}), repository, key, c.verifier); err != nil || !bytes.Equal(text, want) {
				t.Errorf("after the next release it is another lockfile: %v", err)
			}
		})
	}
}
