package publish_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/image"
	"github.com/openbraininstitute/spacktainers/internal/inspect"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
)

// Logins in this file: of releases, of branches, and of the whole host.
const (
	ofReleases = "r3leases-S3cret"
	ofBranches = "br4nches-S3cret"
	ofTheHost  = "h0st-S3cret"
)

// prefixed is a registry at which each prefix has a login of its own. It takes
// note of each login that the wrong repository was asked with, however it came.
type prefixed struct {
	inner  http.Handler
	logins map[string]string // of a prefix of repositories
	bearer bool              // with a token service
	realm  string            // another host's token service, which is asked for branches
	sendTo string            // another host, to which uploads and blobs of branches are sent

	mu      sync.Mutex
	strange []string
	logged  map[string]int // requests of repositories, by the login they came with
}

// loginOf is the login that a repository is for.
func (p *prefixed) loginOf(repository string) string {
	for prefix, login := range p.logins {
		if strings.HasPrefix(repository, prefix) {
			return login
		}
	}
	return ""
}

// note compares what a request brings with what it is for.
func (p *prefixed) note(r *http.Request, repository, brought string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.logged == nil {
		p.logged = map[string]int{}
	}
	p.logged[brought]++
	if brought != "" && (repository != "" && brought != p.loginOf(repository) || r.Host == p.sendTo) {
		p.strange = append(p.strange, fmt.Sprintf("%s %s%s for %s with %s", r.Method, r.Host, r.URL.Path, repository, brought))
	}
}

// came is how many requests came with a login, and what was strange among all.
func (p *prefixed) came(login string) (requests int, strange []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logged[login], slices.Clone(p.strange)
}

func (p *prefixed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, brought, _ := r.BasicAuth()
	if r.URL.Path == "/token" {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		scope := r.URL.Query().Get("scope") + form.Get("scope")
		_, repository, _ := strings.Cut(scope, ":")
		repository, _, _ = strings.Cut(repository, ":")
		p.note(r, repository, brought+form.Get("password"))
		if brought == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"token":%q}`, base64.StdEncoding.EncodeToString([]byte(brought)))
		return
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		text, _ := base64.StdEncoding.DecodeString(token)
		brought = string(text)
	}
	repository := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, part := range []string{"/blobs/", "/manifests/", "/tags/", "/referrers/"} {
		repository, _, _ = strings.Cut(repository, part)
	}
	p.note(r, repository, brought)
	want := p.loginOf(repository)
	switch {
	case r.Host != "registry.example.org" && strings.HasPrefix(r.URL.Path, "/v2/"): // nobody asks for a login here
	case repository == "" && brought == "" || repository != "" && (brought == "" || want != "" && brought != want):
		challenge := `Basic realm="x"`
		if p.bearer {
			host := "registry.example.org"
			if p.realm != "" && strings.HasPrefix(repository, "org/branch-") {
				host = p.realm
			}
			challenge = fmt.Sprintf(`Bearer realm="https://%s/token",service="test"`, host)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if p.sendTo != "" && r.Host != p.sendTo && strings.HasPrefix(repository, "org/branch-") && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
		http.Redirect(w, r, "https://"+p.sendTo+r.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	p.inner.ServeHTTP(w, r)
}

// A login that belongs to one prefix reaches the repositories of no other, not
// at the same host, by its token service, by a mount or by a redirect; and where
// it is missing nothing takes its place.
func TestALoginOfARegistryGoesToItsOwnRepositoriesOnly(t *testing.T) {
	noOtherLogin(t)
	const host = "registry.example.org"
	t.Setenv("REGISTRY_AUTH_FILE", "")
	tree := image.Tree(t.TempDir())
	build(t, tree, container{name: "tool", version: "1.0"})
	release := read(t, tree, "tool")
	repository := func(prefix string) name.Repository {
		r, err := registry.Registry{Prefix: prefix}.Repository("tool")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	releases, staging, branches := repository(host+"/Org/spack-"), repository(host+"/org/spack-staging-"), repository(host+"/org/branch-")
	named := func(prefix, name, password string) registry.Named {
		n := registry.Named{Prefix: prefix, Name: name}
		if password != "" {
			n.Login = registry.Login{User: "me", Password: password}
		}
		return n
	}
	options := func(server *httptest.Server, own ...registry.Named) registry.Options {
		return registry.Options{Transport: &lands{server: server}, Credentials: registry.Credentials{
			GitLabHost: host, GitLab: registry.Login{User: "me", Password: ofTheHost},
			AuthFiles: []string{authFile(t, host+"/org", "me", ofTheHost)}, Named: own}}
	}
	for what, service := range map[string]*prefixed{
		"passwords":                             {},
		"tokens":                                {bearer: true},
		"a token service at a host of releases": {bearer: true, realm: "auth.example.org"},
		"redirects":                             {sendTo: "other.example.org"},
		"redirects with tokens":                 {bearer: true, sendTo: "other.example.org"},
	} {
		t.Run(what, func(t *testing.T) {
			service.inner = quietRegistry()
			service.logins = map[string]string{"org/spack-": ofReleases, "org/branch-": ofBranches}
			server := httptest.NewServer(service)
			defer server.Close()
			both := newClient(t, options(server, named(host+"/Org/spack-", "RELEASES", ofReleases), named(host+"/org/branch-", "BRANCHES", ofBranches)))
			push(t, both, releases, release, onMain("1.0"))
			push(t, both, branches, release, publish.Request{Tags: []string{"branch-x"}, Branch: true})
			for _, ref := range []name.Reference{releases.Tag("1.0"), branches.Tag("branch-x")} {
				if _, err := publish.Verify(t.Context(), both, ref, nil); err != nil {
					t.Error(err)
				}
				if _, err := inspect.Locks(t.Context(), both, ref.Context(), false); err != nil {
					t.Error(err)
				}
			}
			promotion, err := publish.NewPromotion(t.Context(), both, releases.Tag("latest"), staging, false, nil)
			if err == nil {
				err = promotion.Apply(t.Context(), both)
			}
			if err != nil {
				t.Error(err)
			}
			for _, login := range []string{ofReleases, ofBranches} {
				if n, _ := service.came(login); n == 0 {
					t.Errorf("%s never came", login)
				}
			}

			// A job of a branch has that login only: it pushes there, and is a stranger elsewhere.
			own := newClient(t, options(server, named(host+"/Org/spack-", "RELEASES", ""), named(host+"/org/branch-", "BRANCHES", ofBranches)))
			push(t, own, branches, release, publish.Request{Tags: []string{"branch-y"}, Branch: true})
			_, err = pushes(own, releases, release, onMain("2.0"))
			if err == nil || !strings.Contains(err.Error(), "asks for credentials, and there are none: set RELEASES_USER and RELEASES_PASSWORD") || strings.Contains(err.Error(), "\n") {
				t.Errorf("without the login of releases: %v", err)
			}
			// And the other way round, with a login that is wrong.
			_, err = pushes(newClient(t, options(server, named(host+"/org/branch-", "BRANCHES", "wr0ng-S3cret"))), branches, release, publish.Request{Tags: []string{"branch-z"}, Branch: true})
			if err == nil || strings.Contains(err.Error(), "S3cret") || !strings.Contains(err.Error(), "set BRANCHES_USER and BRANCHES_PASSWORD") || !strings.Contains(err.Error(), "refuses the credentials") {
				t.Errorf("with a wrong login: %v", err)
			}
			n, strange := service.came(ofTheHost)
			if n > 0 {
				t.Errorf("the host's login came %d times", n)
			}
			for _, s := range strange {
				if !strings.HasSuffix(s, "with wr0ng-S3cret") {
					t.Error(s)
				}
			}
		})
	}

	server := httptest.NewServer(&prefixed{inner: quietRegistry(), logins: map[string]string{}})
	defer server.Close()
	half := registry.Named{Prefix: host + "/org/branch-", Name: "BRANCHES", Login: registry.Login{Password: ofBranches}}
	_, err := pushes(newClient(t, options(server, half)), branches, release, publish.Request{Tags: []string{"branch-x"}, Branch: true})
	if err == nil || !strings.Contains(err.Error(), "BRANCHES_PASSWORD is set, but BRANCHES_USER is not") || strings.Contains(err.Error(), "S3cret") {
		t.Errorf("half a login: %v", err)
	}
}
