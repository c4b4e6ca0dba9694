package publish_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"

	"github.com/openbraininstitute/spacktainers/internal/attest"
	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/testing/registrytest"
)

// canary is a password that must show up nowhere.
const canary = "c4n4ry-S3cret/+=" // with what base64 and URLs treat specially

// authFile writes podman's auth.json for a host.
func authFile(t *testing.T, host, user, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.json")
	write(t, path, []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))))
	return path
}

// noOtherLogin hides the machine's own auth files.
func noOtherLogin(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
}

// mustNotShow fails where a secret shows, in any of its forms.
func mustNotShow(t *testing.T, where string) {
	t.Helper()
	for _, form := range []string{canary, url.QueryEscape(canary), base64.StdEncoding.EncodeToString([]byte("me:" + canary)), base64.StdEncoding.EncodeToString([]byte(canary))} {
		if strings.Contains(where, form) {
			t.Errorf("the password shows: %s", where)
		}
	}
}

func TestARegistryWithPasswordsOverTLS(t *testing.T) {
	noOtherLogin(t)
	server := registrytest.Debian(t, registrytest.Options{User: "me", Password: canary, TLS: true})
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	repository, release := repositoryOf(t, server.Host, "tool"), read(t, tree, "tool")
	certs := t.TempDir()
	if err := os.Mkdir(filepath.Join(certs, server.Host), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(server.CAFile, filepath.Join(certs, server.Host, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	var notices []string
	with := func(file string, certs ...string) registry.Options {
		return registry.Options{Credentials: registry.Credentials{AuthFiles: []string{file}}, Certs: certs, Notice: func(n string) { notices = append(notices, n) }}
	}
	right := authFile(t, server.Host, "me", canary)
	for _, c := range []struct {
		name    string
		options registry.Options
		want    []string
	}{
		{"an unknown authority", with(right, t.TempDir()), []string{server.Host, "authority that this machine does not know", "certs.d"}},
		{"no credentials", with("/nowhere", certs), []string{server.Host, "asks for credentials", "podman login"}},
		{"a wrong password", with(authFile(t, server.Host, "me", canary+"x"), certs), []string{server.Host, "refuses the credentials", "wrong or have expired", "podman login"}},
	} {
		_, err := pushes(newClient(t, c.options), repository, release, onMain("1.0"))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want %q in it", c.name, err, want)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a sentence: %q", c.name, err)
		}
		mustNotShow(t, err.Error())
	}
	// The whole way: two platforms, verified, compared, promoted, cleaned up.
	ctx := context.Background()
	client := newClient(t, with(right, certs))
	push(t, client, repository, release, onMain("1.0"))
	if _, err := publish.Verify(ctx, client, repository.Tag("1.0"), nil); err != nil {
		t.Error(err)
	}
	build(t, tree, container{name: "tool", version: "1.1", lock: lockB, inputs: []image.Input{{Kind: "new"}}})
	push(t, client, repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.1__gone"}, Origin: attest.Origin{Branch: "gone", Time: time.Now().Add(-time.Hour)}})
	before, err := inspect.ReadContents(ctx, client, repository.Tag("1.0"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := inspect.ReadContents(ctx, client, repository.Tag("1.1__gone"))
	if err != nil {
		t.Fatal(err)
	}
	if d := inspect.Compare(before[1], after[1]); d.Platform != "linux/arm64" || len(d.Changes) == 0 {
		t.Errorf("compared: %+v", d)
	}
	to := repositoryOf(t, server.Host, "production")
	promotion, err := publish.NewPromotion(ctx, client, repository.Tag("latest"), to, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := promotion.Apply(ctx, client); err != nil {
		t.Fatal(err)
	}
	if verified, err := publish.Verify(ctx, client, to.Tag("1.0"), nil); err != nil || len(verified.Platforms) != 2 {
		t.Errorf("promoted: %+v, %v", verified, err)
	}
	clean(t, client, repository, publish.Retention{Branches: []string{"main"}, Now: time.Now()})
	locks, err := inspect.Locks(ctx, client, repository, false)
	if err != nil || len(locks) != 2 || slices.ContainsFunc(locks, func(l inspect.Lock) bool { return slices.Contains(l.Tags, "1.1__gone") }) {
		t.Errorf("cleaned: %d locks, %v", len(locks), err)
	}
	mustNotShow(t, strings.Join(notices, "\n"))
}

// tokens is a registry with a token service, as GHCR and Docker Hub are.
type tokens struct {
	registry http.Handler
	accept   string // the password that earns a token
	expired  bool   // tokens are refused though they were given
	echo     bool   // errors repeat what was sent

	mu     sync.Mutex
	served int
}

func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		_, password, _ := r.BasicAuth()
		switch {
		case password != s.accept:
			w.WriteHeader(http.StatusUnauthorized)
			if s.echo {
				fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"bad login %s"}]}`, r.Header.Get("Authorization"))
			}
		default:
			_, _ = w.Write([]byte(`{"token":"t0ken"}`))
		}
		return
	}
	if r.Header.Get("Authorization") != "Bearer t0ken" || s.expired && r.URL.Path != "/v2/" {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.served++
	s.mu.Unlock()
	s.registry.ServeHTTP(w, r)
}

// lands sends all requests to one server, whatever host they are for.
type lands struct {
	server *httptest.Server
	mu     sync.Mutex
	hosts  []string
}

func (l *lands) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.hosts = append(l.hosts, r.URL.Host)
	l.mu.Unlock()
	next := r.Clone(r.Context())
	next.Host = r.URL.Host
	next.URL.Scheme, next.URL.Host = "http", strings.TrimPrefix(l.server.URL, "http://")
	response, err := http.DefaultTransport.RoundTrip(next)
	if response != nil {
		response.Request = r
	}
	return response, err
}

func quietRegistry() http.Handler { return memory.New(memory.Logger(log.New(io.Discard, "", 0))) }

func TestCredentialsComeFromTheVariablesOfEachRegistry(t *testing.T) {
	noOtherLogin(t)
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	release := read(t, tree, "tool")
	login := registry.Login{User: "me", Password: canary}
	for _, c := range []struct {
		prefix      string
		credentials registry.Credentials
		variable    string
	}{
		{"ghcr.io/Org/spack-", registry.Credentials{GHCR: login}, "GHCR_TOKEN"},
		{"docker.io/org/", registry.Credentials{DockerHub: login}, "DOCKERHUB_PASSWORD"},
		{"registry.gitlab.example/group/project/", registry.Credentials{GitLab: login, GitLabHost: "registry.gitlab.example"}, "CI_JOB_TOKEN"},
	} {
		t.Run(c.prefix, func(t *testing.T) {
			// https as the client sees it, so the token service is at the same host.
			service := &tokens{registry: quietRegistry(), accept: canary, echo: true}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rewriteRealm(service, w, r)
			}))
			defer server.Close()
			repository, err := registry.Registry{Prefix: c.prefix}.Repository("tool")
			if err != nil {
				t.Fatal(err)
			}
			push(t, newClient(t, registry.Options{Credentials: c.credentials, Transport: &lands{server: server}}), repository, release, onMain("1.0"))
			if service.served == 0 {
				t.Error("nothing was served")
			}

			for name, fault := range map[string]func(){
				"a wrong password": func() { service.accept = "another" },
				"an expired token": func() { service.accept, service.expired = canary, true },
			} {
				fault()
				_, err := pushes(newClient(t, registry.Options{Credentials: c.credentials, Transport: &lands{server: server}}), repository, release, publish.Request{Tags: []string{"2.0"}})
				if err == nil || !strings.Contains(err.Error(), c.variable) || !strings.Contains(err.Error(), repository.RegistryStr()) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: got %v, want a sentence with %s", name, err, c.variable)
				}
				mustNotShow(t, fmt.Sprint(err))
			}
		})
	}
}

// rewriteRealm makes the token service's address https, as the client sees it.
func rewriteRealm(service http.Handler, w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	service.ServeHTTP(recorder, r)
	for key, values := range recorder.Header() {
		w.Header()[key] = values
	}
	if realm := recorder.Header().Get("WWW-Authenticate"); realm != "" {
		w.Header().Set("WWW-Authenticate", strings.Replace(realm, `realm="http://`, `realm="https://`, 1))
	}
	w.WriteHeader(recorder.Code)
	_, _ = w.Write(recorder.Body.Bytes())
}

func TestHalfALoginNamesTheMissingVariable(t *testing.T) {
	noOtherLogin(t)
	repository, err := name.NewRepository("ghcr.io/org/tool")
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, registry.Options{Credentials: registry.Credentials{GHCR: registry.Login{Password: canary}}, Transport: refuse{}})
	_, err = inspect.Locks(context.Background(), client, repository, false)
	if err == nil || !strings.Contains(err.Error(), "GHCR_TOKEN is set, but GHCR_USER is not") {
		t.Errorf("got %v", err)
	}
	mustNotShow(t, fmt.Sprint(err))
}

type refuse struct{}

func (refuse) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network in this test")
}

func TestPlainHTTPStaysOnThisMachine(t *testing.T) {
	noOtherLogin(t)
	// A private address: go-containerregistry by itself would speak http with it.
	repository, err := registry.Registry{Prefix: "10.1.2.3:5000/"}.Repository("tool")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(quietRegistry())
	defer server.Close()
	only := plainOnly{lands{server: server}}
	_, err = inspect.Locks(context.Background(), newClient(t, registry.Options{Transport: &only}), repository, false)
	if err == nil || !strings.Contains(err.Error(), "insecure: true") {
		t.Errorf("got %v", err)
	}
	if len(only.hosts) > 0 {
		t.Errorf("plain http was spoken with %q", only.hosts)
	}
	_, err = inspect.Locks(context.Background(), newClient(t, registry.Options{Transport: &only, Insecure: []string{"10.1.2.3:5000"}}), repository, false)
	if err == nil || strings.Contains(err.Error(), "insecure: true") || len(only.hosts) == 0 {
		t.Errorf("allowed: got %v, hosts %q", err, only.hosts)
	}
}

// plainOnly is a network on which nobody speaks https.
type plainOnly struct{ lands }

func (p *plainOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		return nil, errors.New("http: server gave HTTP response to HTTPS client")
	}
	return p.lands.RoundTrip(r)
}

func TestECRMakesPasswordAndRepositoryFromAWSCredentials(t *testing.T) {
	noOtherLogin(t)
	var mu sync.Mutex
	var calls []string
	exists := false
	service := &tokens{registry: quietRegistry(), accept: canary}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		target, isAPI := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonEC2ContainerRegistry_V20150921.")
		if !isAPI {
			rewriteRealm(service, w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		var input map[string]any
		_ = json.NewDecoder(r.Body).Decode(&input)
		calls = append(calls, fmt.Sprint(target, " ", input["registryId"], " ", input["repositoryName"]))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		switch {
		case target == "GetAuthorizationToken":
			token := base64.StdEncoding.EncodeToString([]byte("AWS:" + canary))
			fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d}]}`, token, time.Now().Add(12*time.Hour).Unix())
		case target == "DescribeRepositories" && !exists:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"__type":"RepositoryNotFoundException","message":"no such repository"}`))
		case target == "CreateRepository":
			exists = true
			_, _ = w.Write([]byte(`{"repository":{}}`))
		default:
			_, _ = w.Write([]byte(`{}`))
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_ECR", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-"+canary)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	repository, err := registry.Registry{Prefix: "123456789012.dkr.ecr.us-east-1.amazonaws.com/spacktainers/"}.Repository("tool")
	if err != nil {
		t.Fatal(err)
	}
	options := registry.Options{Transport: &lands{server: server}}
	push(t, newClient(t, options), repository, read(t, tree, "tool"), onMain("1.0"))
	push(t, newClient(t, options), repository, read(t, tree, "tool"), publish.Request{Tags: []string{"1.0__x"}})
	creations := 0
	for _, call := range calls {
		if strings.HasPrefix(call, "CreateRepository") {
			creations++
		}
	}
	if creations != 1 || !slices.Contains(calls, "CreateRepository 123456789012 spacktainers/tool") {
		t.Errorf("calls: %q", calls)
	}

	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err = pushes(newClient(t, options), repository, read(t, tree, "tool"), onMain("1.0"))
	if err == nil || !strings.Contains(err.Error(), "AWS_PROFILE") || !strings.Contains(err.Error(), "ecr:GetAuthorizationToken") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without AWS credentials: %v", err)
	}
	mustNotShow(t, fmt.Sprint(err))
}
