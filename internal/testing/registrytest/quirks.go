package registrytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// A Quirk is something that a registry in use, or what stands before it, does
// otherwise than the specification says.
type Quirk struct {
	Name        string
	NoReferrers bool // the API for them is not there
	wrap        func(*quirky, http.ResponseWriter, *http.Request)
}

// Start starts a registry with the quirk.
func (q Quirk) Start(t testing.TB) Server {
	t.Helper()
	state := &quirky{times: map[string]int{}}
	s := Memory(t, func(inner http.Handler) http.Handler {
		state.inner = inner
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { q.wrap(state, w, r) })
	}, registry.WithReferrersSupport(!q.NoReferrers))
	state.host = s.Host
	return s
}

// quirky is the registry behind a quirk, and what the quirk remembers.
type quirky struct {
	inner http.Handler
	host  string

	mu    sync.Mutex
	times map[string]int
}

func (q *quirky) count(key string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.times[key]++
	return q.times[key]
}

// kind is the part of a repository that a request is about: manifests, blobs,
// referrers or tags.
func kind(r *http.Request) string {
	if m := regexp.MustCompile(`^/v2/.+/(manifests|blobs|referrers|tags)/`).FindStringSubmatch(r.URL.Path); m != nil {
		return m[1]
	}
	return ""
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// refuse answers as registries do.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// edit lets the registry answer, and changes the answer.
func edit(change func(http.Header, *bytes.Buffer)) func(*quirky, http.ResponseWriter, *http.Request) {
	return func(q *quirky, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		q.inner.ServeHTTP(answer, r)
		if answer.Code < 300 {
			change(answer.Header(), answer.Body)
		}
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}
}

// only is a quirk of requests of one kind.
func only(what string, quirk func(*quirky, http.ResponseWriter, *http.Request)) func(*quirky, http.ResponseWriter, *http.Request) {
	return func(q *quirky, w http.ResponseWriter, r *http.Request) {
		if kind(r) == what {
			quirk(q, w, r)
		} else {
			q.inner.ServeHTTP(w, r)
		}
	}
}

func contentType(value string) func(http.Header, *bytes.Buffer) {
	return func(h http.Header, _ *bytes.Buffer) {
		h.Set("Content-Type", strings.ReplaceAll(value, "*", h.Get("Content-Type")))
	}
}

// Quirks are those that everything works with.
func Quirks() []Quirk {
	quirks := []Quirk{
		{Name: "manifests with a charset", wrap: only("manifests", edit(contentType("*; charset=utf-8")))},
		{Name: "manifests as text", wrap: only("manifests", edit(contentType("text/plain")))},
		{Name: "manifests without a type", wrap: only("manifests", edit(func(h http.Header, _ *bytes.Buffer) { h["Content-Type"] = nil }))},
		{Name: "referrers with a charset", wrap: only("referrers", edit(contentType("*; charset=utf-8")))},
		{Name: "referrers as JSON", wrap: only("referrers", edit(contentType("application/json")))},
		{Name: "no digest", wrap: only("manifests", edit(func(h http.Header, _ *bytes.Buffer) { h.Del("Docker-Content-Digest") }))},
		{Name: "HEAD without a length", wrap: only("manifests", func(q *quirky, w http.ResponseWriter, r *http.Request) {
			edit(func(h http.Header, _ *bytes.Buffer) {
				if r.Method == http.MethodHead {
					h.Del("Content-Length")
				}
			})(q, w, r)
		})},
		{Name: "HEAD is not allowed", wrap: only("manifests", func(q *quirky, w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			q.inner.ServeHTTP(w, r)
		})},
		{Name: "referrers are a web page", NoReferrers: true, wrap: only("referrers", func(_ *quirky, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>Registry</title>")
		})},
		{Name: "referrers lead to a web page", NoReferrers: true, wrap: func(q *quirky, w http.ResponseWriter, r *http.Request) {
			switch {
			case kind(r) == "referrers":
				http.Redirect(w, r, "/login", http.StatusFound)
			case r.URL.Path == "/login":
				_, _ = io.WriteString(w, "<html>who are you?</html>")
			default:
				q.inner.ServeHTTP(w, r)
			}
		}},
		{Name: "pages of referrers", wrap: only("referrers", onePerPage)},
		{Name: "uploads go on under https", wrap: func(q *quirky, w http.ResponseWriter, r *http.Request) {
			edit(func(h http.Header, _ *bytes.Buffer) {
				if place := h.Get("Location"); kind(r) == "blobs" && place != "" {
					h.Set("Location", "https://"+q.host+place)
				}
			})(q, w, r)
		}},
		{Name: "immutable tags, the same again too", wrap: immutable},
		{Name: "a token is spoilt by a second scope", wrap: tokens},
		{Name: "blobs are seen late", wrap: only("manifests", func(q *quirky, w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && q.count(r.URL.Path) == 1 {
				refuse(w, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
				return
			}
			q.inner.ServeHTTP(w, r)
		})},
		{Name: "too many requests", wrap: func(q *quirky, w http.ResponseWriter, r *http.Request) {
			if q.count("")%9 == 0 {
				w.Header().Set("Retry-After", time.Now().UTC().Format(http.TimeFormat))
				refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")
				return
			}
			q.inner.ServeHTTP(w, r)
		}},
	}
	for _, status := range []int{400, 403, 404, 405, 406, 410, 501} {
		quirks = append(quirks, Quirk{Name: fmt.Sprintf("referrers are answered %d", status), NoReferrers: true,
			wrap: only("referrers", func(_ *quirky, w http.ResponseWriter, _ *http.Request) { refuse(w, status, "UNSUPPORTED", "no") })})
	}
	for _, status := range []int{403, 404, 405} {
		quirks = append(quirks, Quirk{Name: fmt.Sprintf("mounts are answered %d", status), wrap: func(q *quirky, w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("mount") {
				refuse(w, status, "DENIED", "no")
				return
			}
			q.inner.ServeHTTP(w, r)
		}})
	}
	return quirks
}

// onePerPage sends a list in pages of one entry, with a link to the next.
func onePerPage(q *quirky, w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	edit(func(h http.Header, body *bytes.Buffer) {
		var list map[string]any
		if json.Unmarshal(body.Bytes(), &list) != nil {
			return
		}
		all, _ := list["manifests"].([]any)
		slices.SortFunc(all, func(a, b any) int { // pages must agree about the order
			return strings.Compare(fmt.Sprint(a.(map[string]any)["digest"]), fmt.Sprint(b.(map[string]any)["digest"]))
		})
		list["manifests"] = all[min(page, len(all)):min(page+1, len(all))]
		if page+1 < len(all) {
			h.Set("Link", fmt.Sprintf("<%s?page=%d>; rel=\"next\"", r.URL.Path, page+1))
		}
		body.Reset()
		_ = json.NewEncoder(body).Encode(list)
		h.Set("Content-Length", strconv.Itoa(body.Len()))
	})(q, w, r)
}

// immutable refuses every tag that is there, as Amazon and Harbor can be told.
func immutable(q *quirky, w http.ResponseWriter, r *http.Request) {
	if kind(r) == "manifests" && r.Method == http.MethodPut && !strings.Contains(r.URL.Path, "sha256:") && !strings.HasSuffix(r.URL.Path, "/latest") {
		if q.count("tag "+r.URL.Path) > 1 {
			refuse(w, http.StatusPreconditionFailed, "PRECONDITION", "configured as immutable")
			return
		}
	}
	q.inner.ServeHTTP(w, r)
}

// tokens asks for a token, and gives none for two repositories at once.
func tokens(q *quirky, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		scopes := strings.Fields(strings.Join(r.URL.Query()["scope"], " "))
		repositories := map[string]bool{}
		for _, scope := range scopes {
			if parts := strings.Split(scope, ":"); len(parts) == 3 {
				repositories[parts[1]] = true
			}
		}
		if len(repositories) > 1 {
			refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": url.QueryEscape(strings.Join(scopes, " "))})
		return
	}
	given, _ := url.QueryUnescape(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	challenge := fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, q.host)
	repository := strings.TrimPrefix(strings.Split(r.URL.Path, "/"+kind(r)+"/")[0], "/v2/")
	if what := kind(r); what != "" {
		need := "pull"
		if !isRead(r) {
			need = "push"
		}
		for _, scope := range strings.Fields(given) {
			if parts := strings.Split(scope, ":"); parts[1] == repository && slices.Contains(strings.Split(parts[2], ","), need) {
				if r.URL.Query().Get("from") != "" {
					break // its other repository is not in the token
				}
				q.inner.ServeHTTP(w, r)
				return
			}
		}
		challenge += fmt.Sprintf(",scope=%q", "repository:"+repository+":pull,push,delete")
	} else if given != "" {
		q.inner.ServeHTTP(w, r)
		return
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// NoArtifacts refuses manifests of documents.
var NoArtifacts = Quirk{Name: "no artifacts", NoReferrers: true, wrap: only("manifests", func(q *quirky, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.Method == http.MethodPut && bytes.Contains(body, []byte(`"artifactType"`)) {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", "unsupported config media type")
		return
	}
	q.inner.ServeHTTP(w, r)
})}

// ImmutableTags moves no tag but latest that is there.
var ImmutableTags = Quirk{Name: "immutable tags", wrap: immutable}

// ImmutableLatest moves no tag that is there.
var ImmutableLatest = Quirk{Name: "immutable", wrap: only("manifests", func(q *quirky, w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/latest") && q.count("latest") > 1 {
		refuse(w, http.StatusBadRequest, "TAG_INVALID", "The image tag 'latest' already exists and cannot be overwritten because the tag is immutable.")
		return
	}
	q.inner.ServeHTTP(w, r)
})}

// NullTags lists no tag: not even an empty list of them.
var NullTags = Quirk{Name: "tags: null", wrap: only("tags", edit(func(h http.Header, body *bytes.Buffer) {
	h.Del("Content-Length")
	body.Reset()
	body.WriteString(`{"name":"tool","tags":null}`)
}))}

// ListsNothing has the API for referrers, which knows of none.
var ListsNothing = Quirk{Name: "lists nothing", wrap: only("referrers", edit(func(h http.Header, body *bytes.Buffer) {
	h.Del("Content-Length")
	body.Reset()
	body.WriteString(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
}))}

// FallbackIsTheSubject answers the tag sha256-HEX with the manifest sha256:HEX.
var FallbackIsTheSubject = Quirk{Name: "the fallback tag is the subject", NoReferrers: true, wrap: only("manifests", func(q *quirky, w http.ResponseWriter, r *http.Request) {
	if isRead(r) {
		r.URL.Path = regexp.MustCompile(`/sha256-([0-9a-f]{64})$`).ReplaceAllString(r.URL.Path, "/sha256:$1")
	}
	q.inner.ServeHTTP(w, r)
})}
