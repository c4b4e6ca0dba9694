package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/registry"
)

const canary = "canary-8c1f0e"

// serve starts a server and returns its host, a client and a repository there.
func serve(t *testing.T, o registry.Options, handle http.HandlerFunc) (string, *registry.Client, name.Repository) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	if o.Retry == (registry.Retry{}) {
		o.Retry = registry.Retry{Attempts: 1, First: time.Millisecond, Longest: time.Millisecond}
	}
	client, err := registry.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	repository, err := name.NewRepository(host + "/org/tool")
	if err != nil {
		t.Fatal(err)
	}
	return host, client, repository
}

func TestRedirectsEnd(t *testing.T) {
	var asked atomic.Int64
	_, client, repository := serve(t, registry.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, fmt.Sprintf("/v2/org/tool/manifests/%d", asked.Add(1)), http.StatusTemporaryRedirect)
		}
	})
	_, err := client.Get(t.Context(), repository.Tag("latest"))
	if err == nil || asked.Load() > 12 {
		t.Errorf("%d redirects, %v", asked.Load(), err)
	}
}

func TestListsEnd(t *testing.T) {
	for what, link := range map[string]func(int64) string{
		"the same page":    func(int64) string { return "</v2/org/tool/tags/list?last=a>; rel=\"next\"" },
		"ever other pages": func(n int64) string { return fmt.Sprintf("</v2/org/tool/tags/list?last=%d>; rel=\"next\"", n) },
		"another host":     func(int64) string { return "<http://other.example/v2/org/tool/tags/list>; rel=\"next\"" },
	} {
		t.Run(what, func(t *testing.T) {
			var asked atomic.Int64
			_, client, repository := serve(t, registry.Options{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", link(asked.Add(1)))
				_ = json.NewEncoder(w).Encode(map[string]any{"tags": []string{"a", "b"}})
			})
			if tags, err := client.AllTags(t.Context(), repository); err == nil || asked.Load() > 200 {
				t.Errorf("%d pages, %q, %v", asked.Load(), tags, err)
			}
		})
	}
}

func TestAManifestHasABound(t *testing.T) {
	_, client, repository := serve(t, registry.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			_, _ = io.Copy(w, io.LimitReader(endless{}, 1<<30))
		}
	})
	if _, err := client.Get(t.Context(), repository.Tag("latest")); err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestABodyThatStandsStillIsBrokenOff(t *testing.T) {
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	_, client, repository := serve(t, registry.Options{Idle: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		_, _ = io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := client.Get(ctx, repository.Tag("latest")); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "no byte") {
		t.Errorf("got %v", err)
	}
}

// A registry that repeats what it was sent gives no token away.
func TestATokenInAnAnswerIsNotShown(t *testing.T) {
	var host string
	handle := func(w http.ResponseWriter, r *http.Request) {
		switch given := r.Header.Get("Authorization"); {
		case r.URL.Path == "/token":
			_ = json.NewEncoder(w).Encode(map[string]string{"token": canary})
		case given == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+host+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": "token " + given + " will not do"}}})
		}
	}
	host, client, repository := serve(t, registry.Options{}, func(w http.ResponseWriter, r *http.Request) { handle(w, r) })
	_, err := client.Get(t.Context(), repository.Tag("latest"))
	if err == nil || !strings.Contains(err.Error(), "will not do") || strings.Contains(err.Error(), canary) {
		t.Errorf("from %s: %v", host, err)
	}
}

// everyHost answers for all hosts from one handler, in https too.
type everyHost struct{ handle http.HandlerFunc }

func (e everyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	e.handle(answer, r)
	response := answer.Result()
	response.Request = r
	return response, nil
}

func TestCredentialsGoToTheirOwnDomainOnly(t *testing.T) {
	for _, c := range []struct {
		registry, realm string
		realms          []string
		sent            bool
	}{
		{"registry.example.org", "auth.example.org", nil, true},
		{"registry.example.org", "registry.example.org", nil, true},
		{"registry.example.org", "auth.attacker.net", nil, false},
		{"registry.example.org", "example.org.attacker.net", nil, false},
		{"registry.alice.co.uk", "auth.mallory.co.uk", nil, false},
		{"registry.example.org", "auth.attacker.net", []string{"auth.attacker.net"}, true},
	} {
		shown := false
		transport := everyHost{func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Host == c.realm && r.URL.Path == "/token":
				_, password, _ := r.BasicAuth()
				shown = shown || password == canary
				_ = json.NewEncoder(w).Encode(map[string]string{"token": "t0ken"})
			case r.Header.Get("Authorization") == "":
				w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+c.realm+`/token",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}}
		client, err := registry.NewClient(registry.Options{Transport: transport, Realms: c.realms,
			Credentials: registry.Credentials{GitLabHost: c.registry, GitLab: registry.Login{User: "me", Password: canary}}})
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.NewTag(c.registry + "/org/tool:1.0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Get(t.Context(), ref)
		if shown != c.sent || (err == nil) != c.sent {
			t.Errorf("%s with %s: shown %v, %v", c.registry, c.realm, shown, err)
		}
		if !c.sent && (!strings.Contains(fmt.Sprint(err), c.realm) || strings.Contains(err.Error(), canary)) {
			t.Errorf("%s with %s: %v", c.registry, c.realm, err)
		}
	}
}

// Names below .localhost are this machine by definition. Whoever answers for
// them in DNS must not be asked, since plain http is spoken with them.
func TestLocalhostIsNotAskedOfDNS(t *testing.T) {
	asked := make(chan string, 10)
	resolver := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		asked <- address
		return nil, errors.New("no names here")
	}}
	t.Cleanup(func() { net.DefaultResolver = resolver })
	host, client, _ := serve(t, registry.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	_, port, _ := net.SplitHostPort(host)
	ref, err := name.NewTag("registry.localhost:"+port+"/org/tool:1.0", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := client.Get(t.Context(), ref); err != nil || found != nil {
		t.Errorf("got %v, %v", found, err)
	}
	if len(asked) > 0 {
		t.Errorf("asked %s", <-asked)
	}
}

// GitHub's own API is asked with the login that the repositories have, and its lists end, too.
func TestTheListOfGitHubEnds(t *testing.T) {
	versions := make([]map[string]any, 100)
	for i := range versions {
		versions[i] = map[string]any{"id": i, "name": fmt.Sprintf("sha256:%064x", i)}
	}
	var asked atomic.Int64
	client, err := registry.NewClient(registry.Options{
		Credentials: registry.Credentials{
			GHCR:  registry.Login{User: "host", Password: "of-the-host"},
			Named: []registry.Named{{Prefix: "ghcr.io/org/", Name: "RELEASES", Login: registry.Login{User: "me", Password: canary}}},
		},
		Transport: everyHost{func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Authorization"); got != "Bearer "+canary {
				t.Errorf("%s: asked with %q", r.URL, got)
			}
			asked.Add(1)
			_ = json.NewEncoder(w).Encode(versions)
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	repository, err := name.NewRepository("ghcr.io/org/tool")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := client.Store(repository).List(t.Context()); err == nil || asked.Load() != 2 {
		t.Errorf("%d of %d pages, %v", len(all), asked.Load(), err)
	}
}

// A registry elsewhere makes us ask no service of this machine: those trust who can reach them.
func TestARegistryElsewhereSendsNoRequestsHere(t *testing.T) {
	for what, handle := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				http.Redirect(w, r, "http://127.0.0.1:2375/containers/json", http.StatusTemporaryRedirect)
			}
		},
		"a redirect over another host": func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Host == "other.example":
				http.Redirect(w, r, "http://x.localhost:2375/", http.StatusFound)
			case r.URL.Path != "/v2/":
				http.Redirect(w, r, "https://other.example/", http.StatusFound)
			}
		},
		"a token service": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://[::1]:2375/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"a token service in other letters": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("WWW-Authenticate", `Basic realm="x"`)
			w.Header().Add("WWW-Authenticate", `bearer service="x",REALM=http://LOCALHOST:2375/token`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		t.Run(what, func(t *testing.T) {
			here := atomic.Int64{}
			client, err := registry.NewClient(registry.Options{Retry: registry.Retry{Attempts: 1, First: 1, Longest: 1}, Transport: everyHost{func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Host != "registry.example" && r.URL.Host != "other.example" {
					here.Add(1)
				}
				handle(w, r)
			}}})
			if err != nil {
				t.Fatal(err)
			}
			repository, err := name.NewRepository("registry.example/org/tool")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Get(t.Context(), repository.Tag("latest")); err == nil || !strings.Contains(err.Error(), "sends requests to this machine") && !strings.Contains(err.Error(), "SSRF") {
				t.Errorf("manifest: %v", err)
			}
			if _, err := client.AllTags(t.Context(), repository); err == nil || here.Load() > 0 {
				t.Errorf("%d requests came here: %v", here.Load(), err)
			}
		})
	}
}
