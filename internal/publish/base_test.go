package publish_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// baseFor is a base image in docker's format, as podman saves one.
func baseFor(t *testing.T, arch, key string) publish.Base {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte("the system for "+arch), types.DockerLayer))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Labels, config.Config.OnBuild = map[string]string{image.LabelBuildKey: key}, []string{"RUN spacktainers install"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return publish.Base{Platform: "linux/" + arch, Key: key, Image: func() (v1.Image, error) { return img, nil }}
}

// named is what another machine knows of a base image that it does not have.
func named(b publish.Base) publish.Base { b.Image = nil; return b }

func TestBaseImagesOfSeveralMachinesComeUnderOneIndex(t *testing.T) {
	client := newClient(t, registry.Options{})
	to := repositoryOf(t, registrytest.Memory(t, nil).Host, "builder")
	signer, verifier := signer(t)
	amd64, arm64 := baseFor(t, "amd64", strings.Repeat("a", 64)), baseFor(t, "arm64", strings.Repeat("b", 64))
	publishAs := func(bases ...publish.Base) publish.Plan {
		t.Helper()
		plan, err := publish.NewBasePlan(t.Context(), client, to, bases, signer, verifier)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	// Both look before either has written, as two jobs at once do.
	first, second := publishAs(amd64, named(arm64)), publishAs(named(amd64), arm64)
	for _, plan := range []publish.Plan{first, second} {
		if err := plan.Apply(t.Context(), client); err != nil {
			t.Fatal(err)
		}
	}
	// Who is last looks again.
	again := publishAs(named(amd64), arm64)
	if len(again.Blobs) > 0 || again.Empty() {
		t.Fatalf("%d blobs again, tags %v", len(again.Blobs), again.Tags)
	}
	if err := again.Apply(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if last := publishAs(amd64, named(arm64)); !last.Empty() {
		t.Errorf("there is still something to do: %+v", last.Tags)
	}
	images, err := client.Images(t.Context(), to.Tag("latest"))
	if err != nil || len(images) != 2 || images[0].Platform != "linux/amd64" || images[1].Platform != "linux/arm64" {
		t.Errorf("latest is %+v: %v", images, err)
	}
	if _, err := publish.Verify(t.Context(), client, to.Tag("latest"), nil); err != nil {
		t.Error(err)
	}
	found, err := publish.FindBase(t.Context(), client, to, "linux/arm64", arm64.Key, verifier)
	if err != nil || found == nil {
		t.Fatalf("%v %v", found, err)
	}
	config, err := found.ConfigFile()
	if mediaType, _ := found.MediaType(); err != nil || mediaType != types.DockerManifestSchema2 || len(config.Config.OnBuild) != 1 {
		t.Errorf("it is %s with %v: %v", mediaType, config.Config.OnBuild, err)
	}
}

func TestABaseImageCountsByItsOwnLabelAndSignature(t *testing.T) {
	client := newClient(t, registry.Options{})
	to := repositoryOf(t, registrytest.Memory(t, nil).Host, "builder")
	key := strings.Repeat("a", 64)
	find := func(platform, key string, verifier *attest.Verifier) bool {
		t.Helper()
		img, err := publish.FindBase(t.Context(), client, to, platform, key, verifier)
		if err != nil {
			t.Fatal(err)
		}
		return img != nil
	}
	if find("linux/amd64", key, nil) {
		t.Error("found where nothing is")
	}
	plan, err := publish.NewBasePlan(t.Context(), client, to, []publish.Base{baseFor(t, "amd64", key)}, nil, nil)
	if err == nil {
		err = plan.Apply(t.Context(), client)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, verifier := signer(t)
	if !find("linux/amd64", key, nil) {
		t.Error("not found")
	}
	if find("linux/arm64", key, nil) {
		t.Error("found for another platform")
	}
	if find("linux/amd64", key[:16]+strings.Repeat("c", 48), nil) {
		t.Error("found under a key whose tag is the same")
	}
	if find("linux/amd64", key, verifier) {
		t.Error("found without the signature that is asked for")
	}
}
