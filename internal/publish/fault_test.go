package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// faulty lets a test decide about each request before the registry sees it.
// decide returns true when it has answered.
type faulty struct {
	mu     sync.Mutex
	decide func(w http.ResponseWriter, r *http.Request) bool
}

func (f *faulty) set(decide func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

func (f *faulty) wrap(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		decide := f.decide
		f.mu.Unlock()
		if decide == nil || !decide(w, r) {
			inner.ServeHTTP(w, r)
		}
	})
}

func answer(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(status)
		return true
	}
}

// cut reads a part of the body and breaks the connection.
func cut(w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
	panic(http.ErrAbortHandler)
}

// times lets a fault happen so often and then no more.
func times(n int64, when func(*http.Request) bool, fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var left atomic.Int64
	left.Store(n)
	return func(w http.ResponseWriter, r *http.Request) bool {
		return when(r) && left.Add(-1) >= 0 && fault(w, r)
	}
}

func isMethod(methods string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(methods, r.Method) }
}

func onManifests(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
}

func TestPassingFaultsAreWaitedOut(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"500 on everything":           times(3, isMethod("GET HEAD POST PUT"), answer(500)),
		"500 on blobs":                times(3, isMethod("PATCH"), answer(500)),
		"503 on completing a blob":    times(2, isMethod("PUT"), answer(503)),
		"429":                         times(3, isMethod("POST PATCH PUT"), answer(429)),
		"cut in the middle of a blob": times(3, isMethod("PATCH"), cut),
		"cut on a manifest":           times(2, onManifests, cut),
	} {
		t.Run(name, func(t *testing.T) {
			f := &faulty{decide: fault}
			host := registrytest.Memory(t, f.wrap).Host
			tree := image.Tree(t.TempDir())
			build(t, tree, container{name: "tool", version: "1.0", size: 200_000, layers: 3})
			client := newClient(t, registry.Options{})
			repository := repositoryOf(t, host, "tool")
			push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
			if _, err := publish.Verify(context.Background(), client, repository.Tag("1.0"), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARegistryThatAsksForPatienceGetsIt(t *testing.T) {
	var mu sync.Mutex
	var told, asked time.Time
	f := &faulty{decide: times(1, isMethod("PATCH"), func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		told = time.Now()
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})}
	host := registrytest.Memory(t, func(inner http.Handler) http.Handler {
		return f.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if r.Method == http.MethodPost && !told.IsZero() && asked.IsZero() {
				asked = time.Now()
			}
			mu.Unlock()
			inner.ServeHTTP(w, r)
		}))
	}).Host
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0", platforms: []string{"linux/amd64"}})
	client := newClient(t, registry.Options{Parallel: 1, Retry: registry.Retry{Attempts: 3, First: time.Millisecond, Longest: time.Minute}})
	push(t, client, repositoryOf(t, host, "tool"), read(t, tree, "tool"), onMain("1.0"))
	if waited := asked.Sub(told); waited < 900*time.Millisecond {
		t.Errorf("the next upload began after %s, want a second", waited)
	}
}

func TestALastingFaultLeavesNothingHalfTagged(t *testing.T) {
	nth := func(n int64, when func(*http.Request) bool, fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		var count atomic.Int64
		return func(w http.ResponseWriter, r *http.Request) bool { return when(r) && count.Add(1) >= n && fault(w, r) }
	}
	for _, c := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		want  string
	}{
		{"500 on the third blob", nth(3, isMethod("PATCH"), answer(500)), "500"},
		{"a full registry, at once", nth(1, isMethod("PATCH"), answer(507)), "full"},
		{"a full registry, later", nth(4, isMethod("PATCH"), answer(507)), "full"},
		{"a blob too large", nth(2, isMethod("PATCH"), answer(413)), "full, or refuses a blob of this size"},
		{"full at the manifests", nth(2, onManifests, answer(507)), "full"},
		{"cut on every blob", nth(2, isMethod("PATCH"), cut), "EOF"},
		{"429 for ever", nth(1, isMethod("POST"), answer(429)), "asked too often"},
		{"500 on the index", nth(11, onManifests, answer(500)), "500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &faulty{decide: c.fault}
			host := registrytest.Memory(t, f.wrap).Host
			tree := image.Tree(t.TempDir())
			build(t, tree, container{name: "tool", version: "1.0", size: 100_000, layers: 3})
			repository := repositoryOf(t, host, "tool")
			_, err := pushes(newClient(t, registry.Options{}), repository, read(t, tree, "tool"), onMain("1.0"))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one sentence with %q", err, c.want)
			}
			f.set(nil)
			for _, tag := range tagsIfAny(repository.String()) {
				if !strings.HasPrefix(tag, "sha256-") {
					t.Errorf("tag %s is there", tag)
				}
			}
			client := newClient(t, registry.Options{})
			push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
			if verified, err := publish.Verify(context.Background(), client, repository.Tag("latest"), nil); err != nil || verified.Attached != 8 {
				t.Errorf("after the rerun: %+v, %v", verified, err)
			}
		})
	}
}

func TestTagsOfAHalfTaggedPushNameWhatIsWhole(t *testing.T) {
	// The version's tag fails; the build keys' tags before it are there.
	f := &faulty{decide: func(w http.ResponseWriter, r *http.Request) bool {
		return onManifests(r) && strings.HasSuffix(r.URL.Path, "/1.0") && answer(500)(w, r)
	}}
	host := registrytest.Memory(t, f.wrap).Host
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	if _, err := pushes(client, repository, read(t, tree, "tool"), onMain("1.0")); err == nil {
		t.Fatal("no error")
	}
	f.set(nil)
	for _, tag := range tags(t, repository) {
		if strings.HasPrefix(tag, "key-") {
			if _, err := publish.Verify(context.Background(), client, repository.Tag(tag), nil); err != nil {
				t.Error(err)
			}
		}
	}
	push(t, client, repository, read(t, tree, "tool"), onMain("1.0"))
}

func TestADamagedLayoutIsNotSentAgainAndAgain(t *testing.T) {
	server := registrytest.Debian(t, registrytest.Options{})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0", platforms: []string{"linux/amd64"}})
	release := read(t, tree, "tool")
	layers, err := release.Images[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(tree.Dir("tool", "linux/amd64"), "blobs", "sha256", digest.Hex)
	text, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	write(t, blob, text)
	watch := &seen{inner: http.DefaultTransport}
	_, err = pushes(newClient(t, registry.Options{Transport: watch}), repositoryOf(t, server.Host, "tool"), release, onMain("1.0"))
	if !errors.Is(err, registry.ErrDamaged) || !strings.Contains(err.Error(), digest.String()) {
		t.Errorf("got %v", err)
	}
	lines, _ := watch.take()
	if n := strings.Count(strings.Join(lines, "\n"), "PATCH"); n > 20 {
		t.Errorf("%d uploads", n)
	}
}

func TestAnInterruptStopsAPush(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &faulty{decide: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			cancel()
		}
		return false
	}}
	host := registrytest.Memory(t, f.wrap).Host
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0", layers: 20, size: 1000})
	repository, client := repositoryOf(t, host, "tool"), newClient(t, registry.Options{})
	plan, err := publish.NewPlan(ctx, client, repository, read(t, tree, "tool"), onMain("1.0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(ctx, client); err == nil {
		t.Error("no error")
	}
	if found := tagsIfAny(repository.String()); len(found) > 0 {
		t.Errorf("tags %q are there", found)
	}
}

func tagsIfAny(repository string) []string {
	response, err := http.Get("http://" + strings.Replace(repository, "/", "/v2/", 1) + "/tags/list")
	if err != nil {
		panic(fmt.Sprint("a registry in this process does not answer: ", err))
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil
	}
	text, _ := io.ReadAll(response.Body)
	_, list, _ := strings.Cut(string(text), `"tags":[`)
	list, _, _ = strings.Cut(list, "]")
	if list == "" {
		return nil
	}
	return strings.Split(strings.ReplaceAll(list, `"`, ""), ",")
}
