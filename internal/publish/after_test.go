package publish_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

var origin = attest.Origin{Source: "https://git.example/org/containers", Commit: strings.Repeat("c0ffee", 6) + "c0ff", Branch: "main", Builder: "https://ci.example/jobs/7",
	Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}

// keys writes a key pair as cosign does, the private half behind a password.
func keys(t *testing.T, password string) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypted.Encrypt(der, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(t.TempDir(), "cosign.key"), filepath.Join(t.TempDir(), "cosign.pub")
	write(t, private, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: sealed}))
	write(t, public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
	return private, public
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func signer(t *testing.T) (*attest.Signer, *attest.Verifier) {
	t.Helper()
	private, public := keys(t, "letmein")
	s, err := attest.ReadSigner(private, []byte("letmein"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := attest.ReadVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func TestPromotionTakesEverythingAlong(t *testing.T) {
	registries(t, func(t *testing.T, staging string) {
		production := registrytest.Memory(t, nil).Host
		tree := image.Tree(t.TempDir())
		build(t, tree, container{name: "tool", version: "1.0"})
		client := newClient(t, registry.Options{})
		from, to := repositoryOf(t, staging, "tool"), repositoryOf(t, production, "tool")
		s, v := signer(t)
		request := onMain("1.0")
		request.Signer, request.Origin = s, origin
		pushed := push(t, client, from, read(t, tree, "tool"), request)

		promotion, err := publish.NewPromotion(context.Background(), client, from.Tag("latest"), to, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := promotion.Apply(context.Background(), client); err != nil {
			t.Fatal(err)
		}
		verified, err := publish.Verify(context.Background(), client, to.Tag("1.0"), v)
		if err != nil || verified.Digest != pushed.Digest || !verified.Signed || verified.Attached != 8 {
			t.Errorf("verified %+v: %v", verified, err)
		}
		peopleTags := func(repository name.Repository) []string {
			return slices.DeleteFunc(tags(t, repository), func(tag string) bool { return strings.HasPrefix(tag, "sha256-") && !strings.HasSuffix(tag, ".sig") })
		}
		if got, want := peopleTags(to), peopleTags(from); !slices.Equal(got, want) {
			t.Errorf("tags %q, want %q", got, want)
		}
		again, err := publish.NewPromotion(context.Background(), client, from.Tag("latest"), to, false, nil)
		if err != nil || !again.Empty() {
			t.Errorf("a second promotion has work: %+v, %v", again.Tags, err)
		}
	})
}

func TestPromotionNeedsAWholeSource(t *testing.T) {
	server := registrytest.Debian(t, registrytest.Options{})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	from := repositoryOf(t, server.Host, "tool")
	push(t, newClient(t, registry.Options{}), from, read(t, tree, "tool"), onMain("1.0"))
	record, err := tree.Read("tool", "linux/arm64")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(from.Digest(record.Digest.String())); err != nil {
		t.Fatal(err)
	}
	to := repositoryOf(t, registrytest.Memory(t, nil).Host, "tool")
	_, err = publish.NewPromotion(context.Background(), newClient(t, registry.Options{}), from.Tag("latest"), to, false, nil)
	if !errors.Is(err, registry.ErrDamaged) || !strings.Contains(err.Error(), record.Digest.String()) {
		t.Errorf("got %v", err)
	}
}

func TestShowTellsWhatIsInside(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		tree := image.Tree(t.TempDir())
		build(t, tree, container{name: "tool", version: "1.0"})
		repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
		request := onMain("1.0")
		request.Origin = origin
		push(t, client, repository, read(t, tree, "tool"), request)
		shown, err := inspect.Show(context.Background(), client, repository.Tag("latest"))
		if err != nil || len(shown.Images) != 2 || shown.Version != "1.0" {
			t.Fatalf("got %+v, %v", shown, err)
		}
		one := shown.Images[0]
		if one.Platform != "linux/amd64" || one.Commit != origin.Commit || one.Builder != origin.Builder || !one.Time.Equal(origin.Time) || one.Size < 2000 || one.Signed {
			t.Errorf("got %+v", one)
		}
		if !slices.ContainsFunc(one.Specs, func(s inspect.ShownSpec) bool { return s.Name == "qs-server" && strings.Contains(s.Variants, "+tls") }) {
			t.Errorf("no qs-server+tls among %+v", one.Specs)
		}
		if want := []string{attest.TypeSPDX, attest.TypeProvenance, attest.TypeLock, attest.TypeCycloneDX}; len(one.Attached) != len(want) {
			t.Errorf("attached %q", one.Attached)
		}
	})
}

func TestLocksAreWholeOrAnError(t *testing.T) {
	registries(t, func(t *testing.T, host string) {
		tree := image.Tree(t.TempDir())
		repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
		build(t, tree, container{name: "tool", version: "1.0"})
		push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
		build(t, tree, container{name: "tool", version: "1.1", lock: lockB, inputs: []image.Input{{Kind: "x"}}})
		push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.1__feature"}})

		locks, err := inspect.Locks(context.Background(), client, repository, false)
		if err != nil || len(locks) != 4 {
			t.Fatalf("%d locks: %v", len(locks), err)
		}
		for _, lock := range locks {
			want := lockText(t, lockA)
			if slices.Contains(lock.Tags, "1.1__feature") {
				want = lockText(t, lockB)
			}
			if string(lock.Text) != string(want) {
				t.Errorf("%v has another lockfile", lock.Tags)
			}
		}

		// Somebody pushes an image that knows no lockfile.
		img, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(repository.Tag("alien"), img); err != nil {
			t.Fatal(err)
		}
		if _, err := inspect.Locks(context.Background(), client, repository, false); !errors.Is(err, inspect.ErrNoLock) || !strings.Contains(err.Error(), "alien") {
			t.Errorf("got %v", err)
		}
		locks, err = inspect.Locks(context.Background(), client, repository, true)
		if err != nil || len(locks) != 5 {
			t.Errorf("%d locks with leave: %v", len(locks), err)
		}
	})
}

func TestAListingThatBreaksOffIsAnError(t *testing.T) {
	broken := func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/tags/list") && r.URL.Query().Get("last") == "":
				w.Header().Set("Link", `</v2/org/spack-tool/tags/list?last=1.0&n=1>; rel="next"`)
				_, _ = w.Write([]byte(`{"name":"org/spack-tool","tags":["1.0"]}`))
			case strings.HasSuffix(r.URL.Path, "/tags/list"):
				w.WriteHeader(http.StatusInternalServerError)
			default:
				inner.ServeHTTP(w, r)
			}
		})
	}
	host := registrytest.Memory(t, broken).Host
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
	if locks, err := inspect.Locks(context.Background(), client, repository, false); err == nil {
		t.Errorf("got %d locks", len(locks))
	}
	plan, err := publish.NewCleaning(context.Background(), client, repository, publish.Retention{Branches: []string{"main"}, Now: time.Now()})
	if err == nil {
		t.Errorf("got a plan: %+v", plan)
	}
}

func TestSignaturesAreCosigns(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	plain := push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
	s, v := signer(t)
	if _, err := publish.Verify(context.Background(), client, repository.Tag("1.0"), v); !errors.Is(err, attest.ErrUnsigned) {
		t.Fatalf("unsigned: %v", err)
	}
	request := onMain("1.0")
	request.Signer = s
	push(t, client, repository, read(t, tree, "tool"), request) // adds nothing but signatures
	if verified, err := publish.Verify(context.Background(), client, repository.Tag("1.0"), v); err != nil || verified.Digest != plain.Digest {
		t.Errorf("signed: %v", err)
	}
	if plan := push(t, client, repository, read(t, tree, "tool"), request); !plan.Empty() {
		t.Errorf("signing twice has work: %+v", plan)
	}
	_, other := signer(t)
	if _, err := publish.Verify(context.Background(), client, repository.Tag("1.0"), other); !errors.Is(err, attest.ErrUnsigned) {
		t.Errorf("another key: %v", err)
	}
	img, err := remote.Image(repository.Tag("sha256-" + plain.Digest.Hex + ".sig"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil || len(m.Layers) != 1 || m.Layers[0].MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestASigningKeyNeedsItsPassword(t *testing.T) {
	private, _ := keys(t, "right-password")
	_, err := attest.ReadSigner(private, []byte("wrong-password"))
	if err == nil || !strings.Contains(err.Error(), "COSIGN_PASSWORD") || strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("got %v", err)
	}
}

func TestVerifyFindsAMissingBlob(t *testing.T) {
	server := registrytest.Debian(t, registrytest.Options{})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0", platforms: []string{"linux/amd64"}})
	repository, client := repositoryOf(t, server.Host, "tool"), newClient(t, registry.Options{})
	release := read(t, tree, "tool")
	push(t, client, repository, release, onMain("1.0"))
	layers, err := release.Images[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(server.Dir, "docker/registry/v2/blobs/sha256", digest.Hex[:2], digest.Hex, "data")
	text, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	write(t, data, text)
	if _, err := publish.Verify(context.Background(), client, repository.Tag("1.0"), nil); !errors.Is(err, registry.ErrDamaged) || !strings.Contains(err.Error(), digest.String()) {
		t.Errorf("a flipped bit: %v", err)
	}
}

func TestDiffSpeaksOfPackages(t *testing.T) {
	host := registrytest.Memory(t, nil).Host
	tree := image.Tree(t.TempDir())
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	shared := layer(t, 5000)
	build(t, tree, container{name: "tool", version: "1.0", keep: []v1.Layer{shared}})
	push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
	build(t, tree, container{name: "tool", version: "1.1", lock: lockB, keep: []v1.Layer{shared}})
	before, err := inspect.ReadContents(context.Background(), client, repository.Tag("1.0"))
	if err != nil || len(before) != 2 {
		t.Fatalf("%d images: %v", len(before), err)
	}
	after, err := inspect.LayoutContents(tree.Dir("tool", "linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	d := inspect.Compare(before[0], after[0])
	if d.Platform != "linux/amd64" || d.Same == 0 || d.Download >= d.NewSize || d.Download == 0 {
		t.Errorf("got %+v", d)
	}
	for _, want := range []inspect.Change{
		{Package: "qs-archive", Kind: inspect.Added, New: "1.0"},
		{Package: "qs-report", Kind: inspect.Removed, Old: "0.2"},
		{Package: "qs-server", Kind: inspect.Version, Old: "2.0", New: "1.1"},
	} {
		if !slices.Contains(d.Changes, want) {
			t.Errorf("no %+v among %+v", want, d.Changes)
		}
	}
	if none := inspect.Compare(before[0], before[0]); len(none.Changes) != 0 || none.Download != 0 {
		t.Errorf("with itself: %+v", none)
	}
}
