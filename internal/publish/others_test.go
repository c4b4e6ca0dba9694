package publish_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
	testsize "github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

func TestSkopeoAndPodmanTakeBothPlatforms(t *testing.T) {
	testsize.Need(t, testsize.All)
	skopeo, podman := tooltest.Need(t, "skopeo"), tooltest.Need(t, "podman")
	noOtherLogin(t)
	server := registrytest.Debian(t, registrytest.Options{User: "me", Password: canary, TLS: true})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	certs := t.TempDir()
	if err := os.Mkdir(filepath.Join(certs, server.Host), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(server.CAFile, filepath.Join(certs, server.Host, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	auth := authFile(t, server.Host, "me", canary)
	client := newClient(t, registry.Options{Credentials: registry.Credentials{AuthFiles: []string{auth}}, Certs: []string{certs}})
	repository := repositoryOf(t, server.Host, "tool")
	s, _ := signer(t)
	request := onMain("1.0")
	request.Signer = s
	push(t, client, repository, read(t, tree, "tool"), request)

	conf := filepath.Join(t.TempDir(), "storage.conf")
	storage := t.TempDir()
	write(t, conf, []byte(fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", storage+"/root", storage+"/run")))
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+conf)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", program, args, err, errs.String())
		}
		return string(out)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		ref := "docker://" + server.Host + "/org/spack-tool:latest"
		inspected := run(skopeo, "--override-arch="+arch, "inspect", "--authfile="+auth, "--cert-dir="+filepath.Join(certs, server.Host), ref)
		if !strings.Contains(inspected, `"Architecture": "`+arch+`"`) {
			t.Errorf("skopeo for %s: %s", arch, inspected)
		}
		id := strings.TrimSpace(run(podman, "pull", "--quiet", "--arch="+arch, "--authfile="+auth, "--cert-dir="+filepath.Join(certs, server.Host), ref))
		if got := strings.TrimSpace(run(podman, "image", "inspect", "--format={{.Architecture}}", id)); got != arch {
			t.Errorf("podman pulled %s, want %s", got, arch)
		}
	}
	copied, err := os.MkdirTemp("", "copied") // skopeo takes no upper-case letter in the path of a layout
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(copied)
	run(skopeo, "copy", "--all", "--quiet", "--src-authfile="+auth, "--src-cert-dir="+filepath.Join(certs, server.Host), "docker://"+server.Host+"/org/spack-tool:1.0", "oci:"+copied)
}

func TestWhatABuilderPutsBesideAnImageTravelsAlong(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		tree := image.Tree(t.TempDir())
		build(t, tree, container{name: "tool", version: "1.0", platforms: []string{"linux/amd64"}})
		record, err := tree.Read("tool", "linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		path, err := layout.FromPath(tree.Dir("tool", "linux/amd64"))
		if err != nil {
			t.Fatal(err)
		}
		// BuildKit's way: listed in the index, for no platform.
		attestation, err := mutate.AppendLayers(empty.Image, layer(t, 100))
		if err != nil {
			t.Fatal(err)
		}
		if err := path.AppendImage(attestation, layout.WithAnnotations(map[string]string{
			"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": record.Digest.String(),
		}), layout.WithPlatform(v1.Platform{OS: "unknown", Architecture: "unknown"})); err != nil {
			t.Fatal(err)
		}
		// The OCI's way: a subject.
		img, err := tree.Open(record)
		if err != nil {
			t.Fatal(err)
		}
		size, err := img.Size()
		if err != nil {
			t.Fatal(err)
		}
		scan, ok := mutate.Subject(attestation, v1.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: record.Digest, Size: size}).(v1.Image)
		if !ok {
			t.Fatal("no image")
		}
		if err := path.AppendImage(scan); err != nil {
			t.Fatal(err)
		}
		repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
		push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
		index, err := remote.Index(repository.Tag("1.0"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil || len(m.Manifests) != 2 {
			t.Errorf("the index lists %+v (%v), want the image and its attestation", m, err)
		}
		verified, err := publish.Verify(context.Background(), client, repository.Tag("1.0"), nil)
		if err != nil || verified.Attached != 5 || len(verified.Platforms) != 1 {
			t.Errorf("verified %+v: %v", verified, err)
		}
		// And to production.
		to := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool")
		promotion, err := publish.NewPromotion(context.Background(), client, repository.Tag("latest"), to, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := promotion.Apply(context.Background(), client); err != nil {
			t.Fatal(err)
		}
		if verified, err := publish.Verify(context.Background(), client, to.Tag("1.0"), nil); err != nil || verified.Attached != 5 {
			t.Errorf("promoted %+v: %v", verified, err)
		}
		// With --documents=none what is in the index stays, since that is the image's own, and
		// nothing is attached.
		bare, request := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool"), onMain("1.0")
		request.NoDocuments = true
		push(t, client, bare, read(t, tree, "tool"), request)
		if verified, err := publish.Verify(context.Background(), client, bare.Tag("1.0"), nil); err != nil || verified.Attached != 0 || len(verified.Platforms) != 1 {
			t.Errorf("without documents %+v: %v", verified, err)
		}
		if list := tags(t, bare); slices.ContainsFunc(list, func(tag string) bool { return strings.HasPrefix(tag, "sha256-") }) {
			t.Errorf("without documents there are tags %q", list)
		}
	})
}
