package assemble

import (
	"archive/tar"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

const fixtures = "../../testdata/spack"

var amd64 = v1.Platform{OS: "linux", Architecture: "amd64"}

// A bench is a place to build images in: a mirror, and folders of its own.
type bench struct {
	t      *testing.T
	mirror string
	keys   *buildcache.Keyring
	tree   image.Tree
	work   string
}

func newBench(t *testing.T, mirror string) *bench {
	t.Helper()
	return &bench{t: t, mirror: mirror, tree: image.Tree(filepath.Join(t.TempDir(), "images")), work: filepath.Join(t.TempDir(), "work")}
}

// damaged is a bench with a copy of a mirror, to be damaged.
func damaged(t *testing.T, mirror string) *bench {
	t.Helper()
	b := newBench(t, filepath.Join(t.TempDir(), "cache"))
	if err := os.CopyFS(b.mirror, os.DirFS(mirror)); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) container(lockFile string) Container {
	b.t.Helper()
	text, err := os.ReadFile(lockFile)
	if err != nil {
		b.t.Fatal(err)
	}
	base, err := OpenBase(b.t.Context(), nil, Scratch, amd64)
	if err != nil {
		b.t.Fatal(err)
	}
	c := Container{Container: container.Container{Name: "test", Platform: amd64.String()}, Base: base}
	if err := c.SetLock(text); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) build(ctx context.Context, c Container) (Result, error) {
	b.t.Helper()
	cache, err := buildcache.Open(ctx, file.New(b.mirror), b.keys)
	if err != nil {
		return Result{}, err
	}
	return Builder{Cache: cache, Work: b.work, Fetch: 4}.Build(ctx, c, b.tree)
}

func (b *bench) mustBuild(c Container) Result {
	b.t.Helper()
	result, err := b.build(b.t.Context(), c)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// open returns the image as the next reader of the layout sees it.
func (b *bench) open(result Result) v1.Image {
	b.t.Helper()
	record, err := b.tree.Read(result.Name, result.Platform)
	if err != nil {
		b.t.Fatal(err)
	}
	img, err := b.tree.Open(record)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		b.t.Fatal(err)
	}
	return img
}

// nothingLeft fails if a build that failed has left anything that a later step
// could take for an image.
func (b *bench) nothingLeft() {
	b.t.Helper()
	_ = filepath.WalkDir(string(b.tree), func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != string(b.tree) && d.Name() != "test" && !strings.HasSuffix(path, ".busy") {
			b.t.Errorf("left behind: %s", path)
		}
		return nil
	})
	blobs, _ := filepath.Glob(filepath.Join(b.work, "blobs", "sha256", ".part-*"))
	if len(blobs) > 0 {
		b.t.Errorf("left behind: %s", blobs)
	}
}

// digests are pinned: the same lockfile, cache and base must give the same
// image on every machine. They change only together with the template version.
var digests = map[string]string{
	"v2-signed/env-a":       "fbb5a79124f87f47923265d17edfdff040db8b4a69f1a66de11044781a7637cc",
	"v2-signed/env-b":       "b3f94b45a2f616258f80cf1c17a1f5bdb0c146d51764a9a4e1f21ed98b217e8f",
	"v2-unsigned/env-hello": "f8a07a089e5e5d9081f394a9657c2943b589229d381aa60970508ac115cfa931",
	"v3-signed/env-a":       "f51d396f81067dccc8f833175675445c41cb98aa20247b0977e817103b97f3b8",
	"v3-unsigned/env-b":     "88def23d3f8dfd4b033dfcc2ace88314e068a6ce485f47bac2abe09a5bff833d",
	"v3-signed/env-hello":   "11096ae0e0f497057329a59009529a82ad2364816b4911026b8539f5d2067893",
}

func TestSameInputGivesTheSameDigestEverywhere(t *testing.T) {
	for name, want := range digests {
		t.Run(name, func(t *testing.T) {
			cache, env, _ := strings.Cut(name, "/")
			lock := filepath.Join(fixtures, cache, "locks", env+".spack.lock")
			first := newBench(t, filepath.Join(fixtures, cache, "cache"))
			second := newBench(t, filepath.Join(fixtures, cache, "cache"))
			got := first.mustBuild(first.container(lock))
			again := second.mustBuild(second.container(lock))
			if got.Digest != again.Digest {
				t.Errorf("two folders, two digests: %s and %s", got.Digest, again.Digest)
			}
			if got.Digest.Hex != want {
				t.Errorf("digest is %s, pinned is %s", got.Digest.Hex, want)
			}
			first.open(got)
		})
	}
}

func TestImageHoldsTheRuntimeClosureAndNothingElse(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	result := b.mustBuild(b.container(fixtures + "/v3-signed/locks/env-a.spack.lock"))
	var got []string
	for _, spec := range result.Packages {
		got = append(got, spec.Name)
	}
	slices.Sort(got)
	want := []string{"gcc-runtime", "qs-block", "qs-client", "qs-config", "qs-hash", "qs-net", "qs-report", "qs-server", "qs-shlib", "qs-store", "qs-tls"}
	if !slices.Equal(got, want) {
		t.Errorf("packages %q, want %q", got, want)
	}
	if len(result.Externals) != 2 || result.Externals[0].Name != "qs-vendor" || result.Externals[1].Name != "glibc" {
		t.Errorf("externals %q, want qs-vendor and glibc", result.Externals)
	}
	for name := range files(t, b.open(result)) {
		for _, build := range []string{"qs-codegen", "qs-lex", "compiler-wrapper"} {
			if strings.Contains(name, "/"+build+"-") {
				t.Errorf("a build dependency is in the image: %s", name)
			}
		}
	}
}

func TestViewLinksEveryFileToItsPrefix(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	tree := files(t, b.open(b.mustBuild(b.container(fixtures+"/v3-signed/locks/env-a.spack.lock"))))
	target, ok := tree["opt/view/bin/qs-server"]
	if !ok || !strings.HasPrefix(target, "/opt/software/") || !strings.HasSuffix(target, "/bin/qs-server") {
		t.Fatalf("opt/view/bin/qs-server leads to %q", target)
	}
	for name, target := range tree {
		if strings.HasPrefix(name, "opt/view/") && target != "" {
			if _, ok := tree[strings.TrimPrefix(target, "/")]; !ok {
				t.Errorf("%s leads to %s, which is not there", name, target)
			}
		}
	}
	if _, ok := tree["opt/view/.spack/qs-server/spec.json"]; !ok {
		t.Error("the metadata of qs-server is not in the view")
	}
}

func TestSecondBuildFetchesNothing(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	lock := fixtures + "/v3-signed/locks/env-a.spack.lock"
	first := b.mustBuild(b.container(lock))
	second := b.mustBuild(b.container(lock))
	if first.Fetched != len(first.Packages) || second.Fetched != 0 || second.Digest != first.Digest {
		t.Errorf("fetched %d, then %d; digests %s, %s", first.Fetched, second.Fetched, first.Digest, second.Digest)
	}
}

func TestDamagedBlobInTheWorkFolderIsFetchedAgain(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	lock := fixtures + "/v3-signed/locks/env-a.spack.lock"
	first := b.mustBuild(b.container(lock))
	layers, err := b.open(first).Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	flip(t, blobStore(filepath.Join(b.work, "blobs")).path(digest))
	second := b.mustBuild(b.container(lock))
	if second.Fetched != 1 {
		t.Errorf("fetched %d packages, want the damaged one", second.Fetched)
	}
	b.open(second)
}

// A note about a blob could be forged together with it: only the digest counts.
func TestAnotherTarballInTheWorkFolderIsNotBelieved(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	lock := fixtures + "/v3-signed/locks/env-a.spack.lock"
	first := b.mustBuild(b.container(lock))
	layers, err := b.open(first).Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := blobStore(filepath.Join(b.work, "blobs")).path(digest)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	forged := rewrite(t, data, func(h *tar.Header, body []byte) (tar.Header, []byte) { return *h, body })
	if err := os.Remove(path); err != nil { // layouts share the file by hard links
		t.Fatal(err)
	}
	if err := os.WriteFile(path, forged, 0o644); err != nil {
		t.Fatal(err)
	}
	if second := b.mustBuild(b.container(lock)); second.Fetched != 1 || second.Digest != first.Digest {
		t.Errorf("fetched %d packages, want the one whose tarball is another", second.Fetched)
	}
}

func TestEnvironmentIsTheViewsOnTopOfTheBases(t *testing.T) {
	got := imageEnv([]string{"PATH=/base/bin", "LANG=C.UTF-8"}, environment([]viewTree{{View: views.Default(View)}}, nil, nil), map[string]string{"OMP_NUM_THREADS": "1"})
	want := []string{
		"ACLOCAL_PATH=/opt/view/share/aclocal",
		"CMAKE_PREFIX_PATH=/opt/view",
		"LANG=C.UTF-8",
		"MANPATH=/opt/view/share/man:/opt/view/man:",
		"OMP_NUM_THREADS=1",
		"PATH=/opt/view/bin:/base/bin",
		"PKG_CONFIG_PATH=/opt/view/share/pkgconfig:/opt/view/lib64/pkgconfig:/opt/view/lib/pkgconfig",
		"SPACK_ENV=/opt/spack-environment",
		"SPACK_ENV_VIEW=default",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	b := newBench(t, fixtures+"/v3-signed/cache")
	ctx, cancel := context.WithCancel(t.Context())
	c := b.container(fixtures + "/v3-signed/locks/env-a.spack.lock")
	cancel()
	if _, err := b.build(ctx, c); err == nil {
		t.Error("a cancelled build succeeded")
	}
	b.nothingLeft()
}

// files returns the paths of an image's flattened root file system, with the
// targets of symbolic links.
func files(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	body := mutate.Extract(img)
	defer body.Close()
	found := map[string]string{}
	walkTar(t, body, func(name, target string) { found[strings.Trim(name, "/")] = target })
	return found
}

func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0x40
	// The layouts share the file by a hard link, and a reader may hold it:
	// write another one in its place.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
