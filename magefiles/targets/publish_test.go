package targets

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// shop is a repository with a container for two platforms, of which amd64 is
// built, and two registries: staging and production.
type shop struct{ staging, production, root string }

func openShop(t *testing.T) shop {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"GITHUB_ACTIONS", "GITLAB_CI", "CI", "GITHUB_STEP_SUMMARY", "REGISTRY_AUTH_FILE", "CI_REGISTRY"} {
		t.Setenv(variable, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Chdir(t.TempDir())
	s := shop{registrytest.Memory(t, nil).Host, registrytest.Memory(t, nil).Host, root}
	for _, arch := range []string{"amd64", "arm64"} {
		writeFile(t, "container_definitions/"+arch+"/tool.yaml", "spack:\n  specs: [qs-server]\n")
	}
	writeFile(t, ConfigFile, fmt.Sprintf("registries:\n- {prefix: %s/org/, environments: [staging]}\n- {prefix: %s/org/, environments: [production]}\nbranches: {registry: %s/branch-}\n", s.staging, s.production, s.staging))
	s.build(t, root, "linux/amd64", "a")
	return s
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (shop) build(t *testing.T, root, platform, input string) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(root, "testdata/spack/v3-signed/locks/env-a.spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	record := image.Record{Name: "tool", Version: "1.0", Platform: platform, Engine: "assemble", Inputs: []image.Input{{Kind: "file", Name: "tool.yaml", Digest: input + platform}}}
	record.BuildKey = image.BuildKey(record.Inputs)
	_, err = images.Create("tool", platform, lock, func(dir string) (image.Record, error) {
		img, err := random.Image(100, 1)
		if err != nil {
			return record, err
		}
		config, err := img.ConfigFile()
		if err != nil {
			return record, err
		}
		config = config.DeepCopy()
		config.OS, config.Architecture, _ = strings.Cut(platform, "/")
		if img, err = mutate.ConfigFile(img, config); err != nil {
			return record, err
		}
		path, err := layout.Write(dir, empty.Index)
		if err != nil {
			return record, err
		}
		if err := path.AppendImage(mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)); err != nil {
			return record, err
		}
		index, err := path.ImageIndex()
		if err != nil {
			return record, err
		}
		m, err := index.IndexManifest()
		record.Digest = m.Manifests[0].Digest
		return record, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// printed is what a target writes to standard output.
func printed(t *testing.T, call func() error) (string, error) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = write
	done := make(chan string)
	go func() {
		text, _ := io.ReadAll(read)
		done <- string(text)
	}()
	err = call()
	os.Stdout = stdout
	write.Close()
	return <-done, err
}

func on[T any](v T) *T { return &v }

func TestPublishingFromLayoutsToProduction(t *testing.T) {
	s := openShop(t)
	ctx := context.Background()
	container := func(o ...func(*publishOptions)) ([]publishedContainer, error) {
		options := publishOptions{json: on(true), environment: on("staging"), branch: on("main"), release: on(true)}
		for _, set := range o {
			set(&options)
		}
		text, err := printed(t, func() (err error) {
			defer finish(ctx, &err)
			return publishAll(ctx, on("tool"), options)
		})
		var document struct{ Result []publishedContainer }
		if text != "" {
			if err := json.Unmarshal([]byte(text), &document); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
		return document.Result, err
	}
	if _, err := container(); !errors.Is(err, publish.ErrIncomplete) || !strings.Contains(err.Error(), "linux/arm64") {
		t.Fatalf("without arm64: %v", err)
	}
	partial := func(o *publishOptions) { o.allowPartial = on(true) }
	results, err := container(partial, func(o *publishOptions) { o.dryRun = on(true) })
	if err != nil || len(results) != 1 || results[0].State != "would publish" || results[0].Blobs == 0 {
		t.Fatalf("dry run: %+v, %v", results, err)
	}
	if results, err = container(partial); err != nil || results[0].State != "published" || !slices.Contains(results[0].Tags, "latest") {
		t.Fatalf("got %+v, %v", results, err)
	}
	if results, err = container(partial); err != nil || results[0].State != "unchanged" {
		t.Errorf("again: %+v, %v", results, err)
	}
	fromBranch := func(o *publishOptions) { o.branch, o.release, o.environment = on("feature/x"), nil, nil }
	if results, err = container(partial, fromBranch); err != nil || len(results) != 1 || results[0].Ref != s.staging+"/branch-tool:branch-feature_2fx" || len(results[0].Tags) != 1 {
		t.Errorf("from a branch: %+v, %v", results, err)
	}
	if results, err = container(partial, fromBranch); err != nil || results[0].State != "unchanged" {
		t.Errorf("from a branch again: %+v, %v", results, err)
	}

	text, err := printed(t, func() error {
		return Publish{}.Promote(ctx, "qs-server", on("staging"), on("production"), nil, nil, nil, on(true))
	})
	if err != nil || !strings.Contains(text, s.production) || !strings.Contains(text, `"promoted"`) {
		t.Errorf("promote: %s, %v", text, err)
	}
	text, err = printed(t, func() error { return Publish{}.Verify(ctx, "tool", nil, nil, nil, nil, nil, nil, nil) })
	if err != nil || strings.Count(text, "linux/amd64") != 2 {
		t.Errorf("verify: %s, %v", text, err)
	}
	text, err = printed(t, func() error { return Containers{}.Show(ctx, "tool:1.0", nil, nil, nil) })
	for _, want := range []string{"linux/amd64", "qs-server", "+tls", "build key"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("show: no %q in %s, %v", want, text, err)
		}
	}
	text, err = printed(t, func() error {
		return Containers{}.Diff(ctx, "tool", images.Dir("tool", "linux/amd64"), nil, nil, on(true), nil)
	})
	if err != nil || !strings.Contains(text, "no package changes") || !strings.Contains(text, "0 B to download") {
		t.Errorf("diff: %s, %v", text, err)
	}

	writeFile(t, "branches", "main\n")
	text, err = printed(t, func() error {
		return Publish{}.Clean(ctx, nil, on(true), on("branches"), nil, nil, nil, nil)
	})
	if err != nil || !strings.Contains(text, "would remove") || !strings.Contains(text, "branch-feature_2fx") || strings.Contains(text, "1.0 ") {
		t.Errorf("clean --dry-run: %s, %v", text, err)
	}
	writeFile(t, "empty", "\n")
	if _, err = printed(t, func() error { return Publish{}.Clean(ctx, nil, nil, on("empty"), nil, nil, nil, nil) }); err == nil {
		t.Error("clean with no branches is no error")
	}
	if _, err = printed(t, func() error { return Publish{}.Clean(ctx, nil, nil, on("branches"), nil, on("0"), nil, nil) }); err != nil {
		t.Errorf("clean: %v", err)
	}
	if text, err = printed(t, func() error {
		return Containers{}.Show(ctx, s.staging+"/branch-tool:branch-feature_2fx", nil, nil, nil)
	}); err == nil {
		t.Errorf("the branch's tag is still there: %s", text)
	}
}

func TestUnknownContainersAndEnvironmentsAreWrongCalls(t *testing.T) {
	openShop(t)
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"container": func() error { return publishAll(ctx, on("tol"), publishOptions{release: on(true)}) },
		"environment": func() error {
			return publishAll(ctx, on("tool"), publishOptions{release: on(true), environment: on("stagin")})
		},
	} {
		err := call()
		var wrong callError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A registry without environments serves all of them, which a misspelt one
// must not reach.
func TestAMisspeltEnvironmentReachesNoRegistry(t *testing.T) {
	s := openShop(t)
	s.build(t, s.root, "linux/arm64", "a")
	ctx := context.Background()
	writeFile(t, "none.yaml", fmt.Sprintf("registries:\n- {prefix: %s/org/}\n", s.production))
	writeFile(t, "some.yaml", fmt.Sprintf("registries:\n- {prefix: %s/org/, environments: [staging]}\n- {prefix: %s/org/}\n", s.staging, s.production))
	for file, want := range map[string]string{"some.yaml": "staging", "none.yaml": "environments: [stagin]"} {
		if err := os.Rename(file, ConfigFile); err != nil {
			t.Fatal(err)
		}
		for name, call := range map[string]func() error{
			"publish": func() error {
				return publishAll(ctx, on("tool"), publishOptions{branch: on("main"), release: on(true), environment: on("stagin")})
			},
			"promote --from": func() error { return Publish{}.Promote(ctx, "tool", on("stagin"), on("staging"), nil, nil, nil, nil) },
			"promote --to":   func() error { return Publish{}.Promote(ctx, "tool", on("staging"), on("stagin"), nil, nil, nil, nil) },
		} {
			_, err := printed(t, call)
			var wrong callError
			if !errors.As(err, &wrong) || file == "some.yaml" && !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "environment") {
				t.Errorf("%s with %s: got %v", name, file, err)
			}
		}
	}
	if _, err := printed(t, func() error { return Publish{}.Verify(ctx, "tool", nil, nil, nil, nil, nil, nil, nil) }); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("something was published: %v", err)
	}
}

// Where releases must be signed, one that is not is not verified.
func TestVerifyAsksForTheSignatureThatTheConfigurationAsksFor(t *testing.T) {
	s := openShop(t)
	s.build(t, s.root, "linux/arm64", "a")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "cosign.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	config := fmt.Sprintf("registries:\n- {prefix: %s/org/}\n", s.staging)
	writeFile(t, ConfigFile, config)
	if _, err := printed(t, func() error {
		return publishAll(t.Context(), on("tool"), publishOptions{branch: on("main"), release: on(true)})
	}); err != nil {
		t.Fatal(err)
	}
	verify := func() error {
		_, err := printed(t, func() error { return Publish{}.Verify(t.Context(), "tool", nil, nil, nil, nil, nil, nil, nil) })
		return err
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
	writeFile(t, ConfigFile, config+"image_key: cosign.pub\n")
	if err := verify(); !errors.Is(err, attest.ErrUnsigned) {
		t.Errorf("an unsigned release is verified: %v", err)
	}
}

// What is no release reaches no registry that releases are read from, whoever
// asks for it in whatever way.
func TestABranchPublishesToItsOwnRegistryOrNowhere(t *testing.T) {
	ci := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"}
	for name, c := range map[string]struct {
		env      map[string]string
		options  publishOptions
		branches bool
		wrong    bool
		tag      string // of the branch; empty: nothing is published
	}{
		"at a shell":                  {wrong: true},
		"a branch at a shell":         {options: publishOptions{branch: on("x")}, branches: true, tag: "branch-x"},
		"called main":                 {options: publishOptions{branch: on("main")}, branches: true, tag: "branch-main"},
		"to a registry of its choice": {options: publishOptions{branch: on("x"), environment: on("production")}, branches: true, wrong: true},
		"a release of a branch":       {options: publishOptions{branch: on("x"), release: on(true)}, branches: true, wrong: true},
		"CI, nothing protected":       {env: ci},
		"CI with a pull request":      {env: map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_HEAD_REF": "main", "GITHUB_REF_PROTECTED": "true"}, branches: true, tag: "pull-main"},
		"CI and --release":            {env: ci, options: publishOptions{release: on(true)}, wrong: true},
		"CI, forced":                  {env: ci, options: publishOptions{force: on(true), branch: on("main")}, branches: true, tag: "branch-main"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openShop(t)
			s.build(t, s.root, "linux/arm64", "a")
			config := fmt.Sprintf("registries:\n- {prefix: %s/org/, environments: [production]}\n", s.production)
			if c.branches {
				config += fmt.Sprintf("branches: {registry: %s/branch-}\n", s.staging)
			}
			writeFile(t, ConfigFile, config)
			for variable, value := range c.env {
				t.Setenv(variable, value)
			}
			_, err := printed(t, func() error { return publishAll(t.Context(), on("tool"), c.options) })
			var wrong callError
			if c.wrong != errors.As(err, &wrong) || !c.wrong && err != nil {
				t.Errorf("got %v", err)
			}
			if tags := tagsAt(t, s.production, "org/tool"); len(tags) > 0 {
				t.Errorf("the releases' registry has %q", tags)
			}
			want := []string{}
			if c.tag != "" {
				want = append(want, c.tag)
			}
			tags := slices.DeleteFunc(tagsAt(t, s.staging, "branch-tool"), func(tag string) bool { return strings.HasPrefix(tag, "sha256-") })
			if !slices.Equal(tags, want) {
				t.Errorf("the branches' registry has %q, want %q", tags, want)
			}
		})
	}
}

// tagsAt are the tags of a repository, asked without any code of ours.
func tagsAt(t *testing.T, host, repository string) []string {
	t.Helper()
	response, err := http.Get("http://" + host + "/v2/" + repository + "/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	list := struct{ Tags []string }{Tags: []string{}}
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
	}
	return list.Tags
}

func TestTheBranchComesFromFlagThenCIThenGit(t *testing.T) {
	openShop(t)
	ctx := context.Background()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Env = append(cmd.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
	}
	run("init", "--quiet", "--initial-branch=feature/git")
	run("commit", "--quiet", "--allow-empty", "--message=x")
	run("remote", "add", "origin", "https://me:hunter2@git.example/org/x.git")
	if got := (&app{}).gitRef(ctx, nil); got.Branch != "feature/git" || got.Default != "main" {
		t.Errorf("from git: %+v", got)
	}
	if got := (&app{env: environment{Git: gitEnvironment{Branch: "ci", Default: "develop"}}}).gitRef(ctx, nil); got.Branch != "ci" || got.Default != "develop" {
		t.Errorf("from CI: %+v", got)
	}
	if got := (&app{env: environment{Git: gitEnvironment{Tag: "v1"}}}).gitRef(ctx, nil); got.Tag != "v1" || got.Branch != "" {
		t.Errorf("a git tag: %+v", got)
	}
	if got := (&app{env: environment{Git: gitEnvironment{Branch: "ci", Pull: true}}}).gitRef(ctx, on("mine")); got.Branch != "mine" || got.Pull {
		t.Errorf("from the flag: %+v", got)
	}
	event := "event.json"
	writeFile(t, event, `{"repository":{"default_branch":"trunk"}}`)
	if got := (&app{env: environment{Git: gitEnvironment{Branch: "trunk", Event: event}}}).gitRef(ctx, nil); !got.Fixed() {
		t.Errorf("GitHub's default branch: %+v", got)
	}
	if o := (&app{}).origin(ctx, publish.Ref{Branch: "b"}); o.Source != "https://git.example/org/x.git" || !strings.HasSuffix(o.Commit, "-dirty") {
		t.Errorf("origin %+v", o)
	}
}
