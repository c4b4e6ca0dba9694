package publish_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	memory "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// typed is a response whose Content-Type is rewritten where it is a manifest's.
type typed struct {
	http.ResponseWriter
	rewrite func(string) string
}

func (w typed) WriteHeader(status int) {
	if kind := w.Header().Get("Content-Type"); strings.Contains(kind, "manifest") || strings.Contains(kind, "index") {
		w.Header().Set("Content-Type", w.rewrite(kind))
	}
	w.ResponseWriter.WriteHeader(status)
}

// Registries and what stands before them send manifests with parameters, or
// as something else. What an index leads to is in use all the same: the amd64
// image here is that of latest, and of a branch that is gone.
func TestCleanReadsManifestsByTheirOwnMediaType(t *testing.T) {
	for name, rewrite := range map[string]func(string) string{
		"charset":      func(kind string) string { return kind + "; charset=utf-8" },
		"no space":     func(kind string) string { return kind + ";charset=UTF-8" },
		"text":         func(string) string { return "text/plain; charset=utf-8" },
		"json":         func(string) string { return "application/json" },
		"octet-stream": func(string) string { return "application/octet-stream" },
		"image":        func(string) string { return string(types.OCIManifestSchema1) },
		"upper case":   strings.ToUpper,
		"broken":       func(string) string { return ";;" },
	} {
		t.Run(name, func(t *testing.T) {
			wrap := func(inner http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/manifests/") {
						w = typed{w, rewrite}
					}
					inner.ServeHTTP(w, r)
				})
			}
			server := registrytest.Memory(t, wrap, memory.WithReferrersSupport(true))
			now := time.Now()
			repository, client := repositoryOf(t, server.Host, "tool"), newClient(t, registry.Options{})
			tree := image.Tree(t.TempDir())
			build(t, tree, container{name: "tool", version: "1.0"})
			old := attest.Origin{Branch: "gone", Time: now.Add(-100 * time.Hour)}
			half, err := publish.Read(tree, "tool", []string{"linux/amd64"}, true)
			if err != nil {
				t.Fatal(err)
			}
			push(t, client, repository, half, publish.Request{Tags: []string{"1.0__gone"}, Origin: old})
			push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.0", "latest"}, Fixed: true, Origin: old})
			clean(t, client, repository, publish.Retention{Branches: []string{"main"}, Grace: time.Hour, Now: now})
			if slices.Contains(tags(t, repository), "1.0__gone") {
				t.Error("the gone branch's tag is still there")
			}
			verified, err := publish.Verify(context.Background(), client, repository.Tag("latest"), nil)
			if err != nil || len(verified.Platforms) != 2 || verified.Attached != 8 {
				t.Errorf("latest: %+v, %v", verified, err)
			}
		})
	}
}

func TestCleanStopsAtAManifestThatItCannotRead(t *testing.T) {
	for name, text := range map[string]string{
		"unknown type":                     `{"schemaVersion":2,"mediaType":"application/vnd.example.set+json","members":[]}`,
		"no shape":                         `{"schemaVersion":2}`,
		"index that calls itself an image": fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, types.OCIManifestSchema1),
		"both":                             `{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			server := registrytest.Memory(t, nil)
			repository, client := repositoryOf(t, server.Host, "tool"), newClient(t, registry.Options{})
			branches(t, client, repository, time.Now().Add(-100*time.Hour))
			request, err := http.NewRequest(http.MethodPut, "http://"+server.Host+"/v2/org/spack-tool/manifests/odd", strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/vnd.example.set+json")
			response, err := http.DefaultClient.Do(request)
			if err != nil || response.StatusCode >= 300 {
				t.Fatalf("%v, %v", response, err)
			}
			plan, err := publish.NewCleaning(context.Background(), client, repository, publish.Retention{Branches: []string{"main"}, Now: time.Now()})
			if err == nil || !strings.Contains(err.Error(), "not known") || len(plan.Remove) > 0 {
				t.Errorf("got %v and %+v", err, plan.Remove)
			}
		})
	}
}
