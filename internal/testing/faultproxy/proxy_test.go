package faultproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
)

const listing = `<R><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></R>`

// echo stands for a server: it says what it was asked, or lists.
func echo(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("list-type") {
			fmt.Fprint(w, listing)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, body)
	}))
	t.Cleanup(server.Close)
	return faultproxy.New(t, server.URL)
}

func ask(t *testing.T, p *faultproxy.Proxy, method, path string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestPassesOnWhatWasSigned(t *testing.T) {
	p := echo(t)
	want := "PUT " + strings.TrimPrefix(p.URL, "http://") + " /b/a%2Bb%20c?x=%2F&y body"
	if status, got, err := ask(t, p, http.MethodPut, "/b/a%2Bb%20c?x=%2F&y"); got != want || status != 200 || err != nil {
		t.Errorf("got  %d %s %v\nwant %s", status, got, err, want)
	}
	if log := p.Requests(); len(log) != 1 || log[0].Path != "/b/a+b c" || !log[0].Query.Has("y") || p.Count(faultproxy.IsPut) != 1 {
		t.Errorf("got %+v", log)
	}
}

func TestRulesSkipAndEnd(t *testing.T) {
	p := echo(t)
	p.Add(faultproxy.Rule{Match: faultproxy.And(faultproxy.IsGet, faultproxy.Key("k/1")), Skip: 1, Times: 2, Fault: faultproxy.Fail(503, "SlowDown")})
	for i, want := range []int{200, 503, 503, 200} {
		if got, _, err := ask(t, p, http.MethodGet, "/b/k/1"); got != want || err != nil {
			t.Errorf("request %d: got %d, %v, want %d", i, got, err, want)
		}
		if got, _, _ := ask(t, p, http.MethodGet, "/b/k/2"); got != 200 {
			t.Errorf("another key: got %d", got)
		}
	}
}

func TestFaults(t *testing.T) {
	after := 0
	for name, tt := range map[string]struct {
		fault  faultproxy.Fault
		path   string
		status int
		body   string
		broken bool
	}{
		"fail":    {faultproxy.Fail(403, "AccessDenied"), "/b/k", 403, "<Code>AccessDenied</Code>", false},
		"cut":     {faultproxy.CutBody(3), "/b/k", 200, "GET", true},
		"shorten": {faultproxy.ShortenBody(3), "/b/k", 200, "GET", false},
		"break":   {faultproxy.Break, "/b/k", 0, "", true},
		"lose":    {faultproxy.LoseReply, "/b/k", 0, "", true},
		"end":     {faultproxy.EndListing, "/b?list-type=2", 200, "<R><IsTruncated>false</IsTruncated></R>", false},
		"around":  {faultproxy.Around(nil, func() { after++ }), "/b/k", 200, "GET ", false},
		"delay":   {faultproxy.Delay(time.Millisecond), "/b/k", 200, "GET ", false},
		"answer":  {faultproxy.Answer("<A/>"), "/b/k", 200, "<A/>", false},
	} {
		p := echo(t)
		p.Add(faultproxy.Rule{Fault: tt.fault})
		status, body, err := ask(t, p, http.MethodGet, tt.path)
		if status != tt.status || !strings.Contains(body, tt.body) || (err != nil) != tt.broken {
			t.Errorf("%s: got %d %q %v", name, status, body, err)
		}
	}
	if after != 1 {
		t.Errorf("after was called %d times", after)
	}
}
