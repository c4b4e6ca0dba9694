package publish_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// quick is patience enough for a registry in the same process.
var quick = registry.Retry{Attempts: 4, First: time.Millisecond, Longest: 20 * time.Millisecond}

// A container is what a test publishes.
type container struct {
	name, version string
	platforms     []string
	layers        int
	size          int64
	inputs        []image.Input
	lock          string // below testdata/spack
	labels        map[string]string
	keep          []v1.Layer // layers of another container, below its own
}

const (
	lockA = "v3-signed/locks/env-a.spack.lock"
	lockB = "v3-signed/locks/env-b.spack.lock"
)

func lockText(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../testdata/spack", path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// build puts a container of random layers into a tree.
func build(t testing.TB, tree image.Tree, c container) {
	t.Helper()
	if c.platforms == nil {
		c.platforms = []string{"linux/amd64", "linux/arm64"}
	}
	if c.layers == 0 {
		c.layers, c.size = 2, 1000
	}
	if c.lock == "" {
		c.lock = lockA
	}
	text := lockText(t, c.lock)
	sum := sha256.Sum256(text)
	for _, platform := range c.platforms {
		record := image.Record{Name: c.name, Version: c.version, Platform: platform, Engine: "assemble", Lock: hex.EncodeToString(sum[:])}
		record.Inputs = append(slices.Clone(c.inputs), image.Input{Kind: "platform", Digest: platform})
		record.BuildKey, record.Concretization = image.BuildKey(record.Inputs), c.labels[image.LabelConcretization]
		_, err := tree.Create(c.name, platform, text, func(dir string) (image.Record, error) {
			layers := slices.Clone(c.keep)
			for range c.layers {
				layers = append(layers, layer(t, c.size))
			}
			img, err := mutate.AppendLayers(empty.Image, layers...)
			if err != nil {
				return record, err
			}
			config, err := img.ConfigFile()
			if err != nil {
				return record, err
			}
			config = config.DeepCopy()
			config.OS, config.Architecture, _ = strings.Cut(platform, "/")
			inputs, _ := json.Marshal(record.Inputs)
			config.Config.Labels = map[string]string{
				image.LabelBuildKey: record.BuildKey, image.LabelLock: record.Lock, image.LabelInputs: string(inputs),
				"org.opencontainers.image.version": c.version,
			}
			for key, value := range c.labels {
				config.Config.Labels[key] = value
			}
			if img, err = mutate.ConfigFile(img, config); err != nil {
				return record, err
			}
			img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
			path, err := layout.Write(dir, emptyIndex{})
			if err != nil {
				return record, err
			}
			if err := path.AppendImage(img); err != nil {
				return record, err
			}
			record.Digest, err = img.Digest()
			return record, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// layer is a gzipped layer with a file of noise.
func layer(t testing.TB, size int64) v1.Layer {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	noise := make([]byte, size)
	_, _ = rand.Read(noise)
	name := fmt.Sprintf("opt/%x", noise[:8])
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(noise); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

type emptyIndex struct{}

func (emptyIndex) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }
func (emptyIndex) Digest() (v1.Hash, error)            { return v1.Hash{}, nil }
func (emptyIndex) Size() (int64, error)                { return 0, nil }
func (emptyIndex) IndexManifest() (*v1.IndexManifest, error) {
	return &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}, nil
}
func (e emptyIndex) RawManifest() ([]byte, error) {
	return []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), nil
}
func (emptyIndex) Image(v1.Hash) (v1.Image, error)           { return nil, errors.New("none") }
func (emptyIndex) ImageIndex(v1.Hash) (v1.ImageIndex, error) { return nil, errors.New("none") }

// seen counts the requests of a client that change something.
type seen struct {
	inner http.RoundTripper
	mu    sync.Mutex
	lines []string
	sent  int64
}

func (s *seen) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.mu.Lock()
		s.lines = append(s.lines, r.Method+" "+r.URL.Path)
		s.sent += max(0, r.ContentLength)
		s.mu.Unlock()
	}
	return s.inner.RoundTrip(r)
}

func (s *seen) take() (lines []string, sent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, sent = s.lines, s.sent
	s.lines, s.sent = nil, 0
	return lines, sent
}

func newClient(t testing.TB, o registry.Options) *registry.Client {
	t.Helper()
	if o.Retry == (registry.Retry{}) {
		o.Retry = quick
	}
	c, err := registry.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func repositoryOf(t testing.TB, host, container string) name.Repository {
	t.Helper()
	repository, err := registry.Registry{Prefix: host + "/org/spack-"}.Repository(container)
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

func read(t testing.TB, tree image.Tree, name string) publish.Release {
	t.Helper()
	release, err := publish.Read(tree, name, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

// push plans and executes, and returns the plan.
func push(t testing.TB, c *registry.Client, repository name.Repository, release publish.Release, request publish.Request) publish.Plan {
	t.Helper()
	plan, err := pushes(c, repository, release, request)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func pushes(c *registry.Client, repository name.Repository, release publish.Release, request publish.Request) (publish.Plan, error) {
	plan, err := publish.NewPlan(context.Background(), c, repository, release, request)
	if err != nil {
		return plan, err
	}
	return plan, plan.Apply(context.Background(), c)
}

func onMain(version string) publish.Request {
	return publish.Request{Tags: []string{version, publish.Latest}, Fixed: true}
}

func tags(t testing.TB, repository name.Repository) []string {
	t.Helper()
	list, err := remote.List(repository)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// registries are those that every promise is tested against.
func registries(t *testing.T, test func(t *testing.T, host string)) {
	t.Run("memory", func(t *testing.T) { test(t, registrytest.Memory(t, nil).Host) })
	t.Run("memory with the referrers API", func(t *testing.T) {
		test(t, registrytest.Memory(t, nil, memory.WithReferrersSupport(true)).Host)
	})
	t.Run("docker-registry", func(t *testing.T) { test(t, registrytest.Debian(t, registrytest.Options{}).Host) })
}

func TestAPushHappensOnce(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		tree := image.Tree(t.TempDir())
		build(t, tree, container{name: "tool", version: "1.0"})
		repository, release := repositoryOf(t, host, "tool"), read(t, tree, "tool")
		watch := &seen{inner: http.DefaultTransport}
		first := push(t, newClient(t, registry.Options{Transport: watch}), repository, release, onMain("1.0"))
		if lines, _ := watch.take(); len(lines) == 0 || first.Empty() {
			t.Fatal("the first run wrote nothing")
		}
		// Another client, as another process would be.
		second := push(t, newClient(t, registry.Options{Transport: watch}), repository, release, onMain("1.0"))
		if lines, _ := watch.take(); len(lines) > 0 || !second.Empty() {
			t.Errorf("the second run wrote: %q", lines)
		}
		for _, platform := range []string{"amd64", "arm64"} {
			img, err := remote.Image(repository.Tag("1.0"), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: platform}))
			if err != nil {
				t.Fatal(err)
			}
			got, err := img.Digest()
			record, readErr := tree.Read("tool", "linux/"+platform)
			if err != nil || readErr != nil || got != record.Digest {
				t.Errorf("%s: the index leads to %s, built was %s (%v, %v)", platform, got, record.Digest, err, readErr)
			}
		}
		verified, err := publish.Verify(context.Background(), newClient(t, registry.Options{}), repository.Tag("latest"), nil)
		if err != nil || verified.Digest != first.Digest || verified.Attached != 8 || len(verified.Platforms) != 2 {
			t.Errorf("verified %+v: %v", verified, err)
		}
	})
}

func TestOneChangedLayerIsOneBlobSent(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	tree := image.Tree(t.TempDir())
	shared := layer(t, 300_000)
	repository := repositoryOf(t, host, "tool")
	watch := &seen{inner: http.DefaultTransport}
	client := newClient(t, registry.Options{Transport: watch})
	for i, version := range []string{"1.0", "1.1"} {
		build(t, tree, container{name: "tool", version: version, keep: []v1.Layer{shared}, platforms: []string{"linux/amd64"},
			inputs: []image.Input{{Kind: "file", Name: "spack.yaml", Digest: version}}})
		push(t, client, repository, read(t, tree, "tool"), onMain(version))
		if _, sent := watch.take(); (i == 0) != (sent > 300_000) {
			t.Errorf("%s: %d bytes sent", version, sent)
		}
	}
	// Another container of the registry has the shared layer by a mount.
	build(t, tree, container{name: "other", version: "3", keep: []v1.Layer{shared}, platforms: []string{"linux/amd64"}})
	push(t, client, repositoryOf(t, host, "other"), read(t, tree, "other"), onMain("3"))
	if _, sent := watch.take(); sent > 300_000 {
		t.Errorf("the layer was sent again: %d bytes", sent)
	}
}

func TestAVersionStaysWithItsBuild(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		tree := image.Tree(t.TempDir())
		repository := repositoryOf(t, host, "tool")
		client := newClient(t, registry.Options{})
		input := func(digest string) []image.Input {
			return []image.Input{{Kind: "file", Name: "spack.yaml", Digest: digest}}
		}
		build(t, tree, container{name: "tool", version: "1.0", inputs: input("a")})
		first := push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))

		build(t, tree, container{name: "tool", version: "1.0", inputs: input("b")})
		_, err := pushes(client, repository, read(t, tree, "tool"), onMain("1.0"))
		var conflict *publish.ConflictError
		if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "linux/amd64: file spack.yaml changed") {
			t.Fatalf("got %v", err)
		}
		if head, err := remote.Head(repository.Tag("1.0")); err != nil || head.Digest != first.Digest {
			t.Errorf("1.0 moved: %v, %v", head, err)
		}

		forced := onMain("1.0")
		forced.Force = true
		plan := push(t, client, repository, read(t, tree, "tool"), forced)
		if head, err := remote.Head(repository.Tag("1.0")); err != nil || head.Digest != plan.Digest {
			t.Errorf("1.0 did not move by force: %v, %v", head, err)
		}
	})
}

func TestAPlatformIsNotLostFromAVersion(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
	half, err := publish.Read(tree, "tool", []string{"linux/amd64"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pushes(client, repository, half, onMain("1.0")); err == nil || !strings.Contains(err.Error(), "linux/arm64 would be lost") {
		t.Errorf("got %v", err)
	}
}

func TestTheSameBuildWithOtherBytesKeepsWhatIsPublished(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	tree := image.Tree(t.TempDir())
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	build(t, tree, container{name: "tool", version: "1.0"})
	first := push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.0__feature"}})
	build(t, tree, container{name: "tool", version: "1.0"}) // random layers: other bytes
	second := push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
	if !second.Adopted || second.Digest != first.Digest || len(second.Blobs) > 0 {
		t.Errorf("got %+v, want %s adopted", second, first.Digest)
	}
	if head, err := remote.Head(repository.Tag("1.0")); err != nil || head.Digest != first.Digest {
		t.Errorf("1.0 names %v: %v", head, err)
	}
}

// A version that no tag can be is found under the tag that it was published as.
func TestAVersionThatIsNoTagIsFoundAgain(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	tree := image.Tree(t.TempDir())
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	const version = "git.feature/x=1.0"
	build(t, tree, container{name: "tool", version: version})
	tags, err := publish.Ref{Branch: "main", Default: "main"}.Tags(version)
	if err != nil {
		t.Fatal(err)
	}
	push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: tags, Fixed: true})
	found, err := client.Published(t.Context(), registry.Registry{Prefix: host + "/org/spack-"}, image.Record{Name: "tool", Version: version, Platform: "linux/amd64"})
	if found == nil || err != nil {
		t.Errorf("found %v: %v", found, err)
	}
}

func TestTags(t *testing.T) {
	for _, c := range []struct {
		ref  publish.Ref
		want []string
	}{
		{publish.Ref{Branch: "main", Default: "main"}, []string{"1.0", "latest"}},
		{publish.Ref{Branch: "feature/X", Default: "main"}, []string{"1.0__feature-x"}},
		{publish.Ref{Branch: "develop", Default: "develop"}, []string{"1.0", "latest"}},
		{publish.Ref{Tag: "v3", Default: "main"}, []string{"1.0"}},
		{publish.Ref{Default: "main"}, nil},
		{publish.Ref{Branch: "main", Default: "main", Pull: true}, []string{"1.0__pull-main"}}, // of a fork
		{publish.Ref{Branch: "fix", Default: "main", Pull: true}, []string{"1.0__fix"}},
	} {
		got, err := c.ref.Tags("1.0")
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("%+v: got %q, %v, want %q", c.ref, got, err, c.want)
		}
	}
}

func TestAReleaseNeedsAllItsPlatforms(t *testing.T) {
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0", platforms: []string{"linux/amd64"}})
	both := []string{"linux/amd64", "linux/arm64"}
	if _, err := publish.Read(tree, "tool", both, false); !errors.Is(err, publish.ErrIncomplete) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Errorf("got %v", err)
	}
	if release, err := publish.Read(tree, "tool", both, true); err != nil || len(release.Images) != 1 {
		t.Errorf("partial: %v", err)
	}
	build(t, tree, container{name: "tool", version: "1.1", platforms: []string{"linux/arm64"}})
	if _, err := publish.Read(tree, "tool", both, true); !errors.Is(err, publish.ErrIncomplete) || !strings.Contains(err.Error(), "1.1") {
		t.Errorf("two versions: %v", err)
	}
}

func TestRegistryNames(t *testing.T) {
	for _, c := range []struct{ prefix, container, want string }{
		{"ghcr.io/OpenBrainInstitute/spack-", "Tool", "ghcr.io/openbraininstitute/spack-tool"},
		{"123456789012.dkr.ecr.us-east-1.amazonaws.com/spacktainers/", "tool", "123456789012.dkr.ecr.us-east-1.amazonaws.com/spacktainers/tool"},
		{"docker.io/org/", "tool", "index.docker.io/org/tool"},
		{"127.0.0.1:5000/", "tool", "127.0.0.1:5000/tool"},
		{"ghcr.io", "tool", ""},
	} {
		got, err := registry.Registry{Prefix: c.prefix}.Repository(c.container)
		if (err != nil) != (c.want == "") || err == nil && got.String() != c.want {
			t.Errorf("%s + %s: got %v, %v, want %s", c.prefix, c.container, got, err, c.want)
		}
	}
}
