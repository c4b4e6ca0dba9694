// Package faultproxy is a reverse proxy for tests that lets an S3 server fail
// on purpose. It hands requests on with the Host that the client has signed.
package faultproxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// A Proxy stands before a server until its test ends.
type Proxy struct {
	URL string // what clients take for the server

	target *url.URL
	client http.RoundTripper

	mu    sync.Mutex
	rules []*rule
	log   []Request
}

// A Request is what came through, or was to.
type Request struct {
	Method string
	Path   string // /bucket/key, unescaped
	Query  url.Values
	Header http.Header
}

// A Rule lets a fault happen to some requests.
type Rule struct {
	Match func(Request) bool // nil is every request
	Skip  int                // so many matching ones pass first
	Times int                // then so many fail; 0 is all of them
	Fault Fault
}

// A Fault answers a request. It may ask the server by calling forward, once.
type Fault func(w http.ResponseWriter, r *http.Request, forward func() *Reply)

// A Reply is what the server has answered, whole.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

type rule struct {
	Rule
	seen int
}

// New starts a proxy to the server at the URL target.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	p := &Proxy{target: u, client: transport}
	server := httptest.NewServer(p)
	p.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// Add adds a rule. Of several that match, the first one that is not used up
// acts.
func (p *Proxy) Add(r Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &rule{Rule: r})
}

// Reset forgets the rules and the requests.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.log = nil, nil
}

// Requests returns all requests so far, in order of arrival.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// Count returns how many requests so far match.
func (p *Proxy) Count(match func(Request) bool) int {
	n := 0
	for _, r := range p.Requests() {
		if match(r) {
			n++
		}
	}
	return n
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.fault(Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header.Clone()})
	if fault == nil {
		p.pass(w, r)
		return
	}
	fault(w, r, func() *Reply { return p.whole(r) })
}

func (p *Proxy) fault(r Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, r)
	for _, rule := range p.rules {
		if rule.Match != nil && !rule.Match(r) {
			continue
		}
		rule.seen++
		if n := rule.seen - rule.Skip; n > 0 && (rule.Times == 0 || n <= rule.Times) {
			return rule.Fault
		}
	}
	return nil
}

// send asks the server. It panics if that does not answer, which closes the
// client's connection.
func (p *Proxy) send(r *http.Request) *http.Response {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host = p.target.Scheme, p.target.Host // not out.Host: it is signed
	resp, err := p.client.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return resp
}

func (p *Proxy) pass(w http.ResponseWriter, r *http.Request) {
	resp := p.send(r)
	defer resp.Body.Close()
	copyHeader(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (p *Proxy) whole(r *http.Request) *Reply {
	resp := p.send(r)
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	return &Reply{Status: resp.StatusCode, Header: resp.Header, Body: body.Bytes()}
}

func copyHeader(to, from http.Header) {
	for name, values := range from {
		to[name] = slices.Clone(values)
	}
}
