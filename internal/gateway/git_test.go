package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A build reads a private repository without the credentials for it, and can do nothing else with
// them.
func TestAPrivateRepositoryIsReadAndNotWritten(t *testing.T) {
	var elsewhere *httptest.Server
	var asked []string
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, fmt.Sprintf("%s %s %s:%s %s %s", r.Method, r.URL, user, password, r.Header.Get("Git-Protocol"), body))
		switch {
		case strings.HasPrefix(r.URL.Path, "/away"):
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/moved"):
			http.Redirect(w, r, "/new/info/refs?service=git-upload-pack", http.StatusMovedPermanently)
		case user != "reader":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("Set-Cookie", "session=canary")
			fmt.Fprint(w, "refs")
		}
	}))
	defer host.Close()
	elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host is asked") }))
	defer elsewhere.Close()
	name := strings.TrimPrefix(host.URL, "http://")
	o := open(t, Build{Git: []GitLogin{{Host: name, User: "reader", Password: "canary", plain: true}}})
	for _, path := range []string{"/org/x.git/info/refs?service=git-upload-pack", "/moved/info/refs?service=git-upload-pack"} {
		if status, text := o.get("git/" + name + path); status != 200 || string(text) != "refs" {
			t.Errorf("got %d %s", status, text)
		}
	}
	if status, text := o.ask("POST", "git/"+name+"/org/x.git/git-upload-pack", []byte("want")); status != 200 || string(text) != "refs" {
		t.Errorf("got %d %s", status, text)
	}
	if last := asked[len(asked)-1]; last != "POST /org/x.git/git-upload-pack reader:canary  want" {
		t.Errorf("the host was asked %q", last)
	}
	before := len(asked)
	for _, path := range []string{
		"/org/x.git/info/refs?service=git-receive-pack", "/org/x.git/info/refs", "/org/x.git/info/refs?service=git-upload-pack&x=y",
		"/api/v4/user", "/org/x.git/HEAD", "/org/../api/info/refs?service=git-upload-pack", "@evil.example/info/refs?service=git-upload-pack",
	} {
		if status, _ := o.get("git/" + name + path); status == 200 {
			t.Errorf("%s: got %d", path, status)
		}
	}
	for _, path := range []string{"/org/x.git/git-receive-pack", "/org/x.git/info/refs?service=git-upload-pack", "/org/x.git/git-upload-pack?x=y"} {
		if status, _ := o.ask("POST", "git/"+name+path, nil); status == 200 {
			t.Errorf("POST %s: got %d", path, status)
		}
	}
	if status, _ := o.get("git/another.example/x/info/refs?service=git-upload-pack"); status != 403 {
		t.Errorf("another host: got %d", status)
	}
	if len(asked) != before {
		t.Errorf("the host was asked: %q", asked[before:])
	}
	if status, text := o.get("git/" + name + "/away/info/refs?service=git-upload-pack"); status != 502 || strings.Contains(string(text), "canary") {
		t.Errorf("got %d %s", status, text)
	}
	if notes := fmt.Sprint(o.notes); strings.Contains(notes, "canary") {
		t.Errorf("notes: %s", notes)
	}
}

func TestLoginsAreReadForTheHostsThatAreNamed(t *testing.T) {
	text := []byte("# ours\nhttps://me:canary@git.example.org\nhttps://x:y@other.example.org/path\n")
	logins, err := ReadGitLogins(text, []string{"git.example.org"})
	if err != nil || len(logins) != 1 || logins[0].Host != "git.example.org" || logins[0].Password != "canary" {
		t.Errorf("got %v, %v", logins, err)
	}
	if _, err := ReadGitLogins(text, []string{"third.example.org"}); err == nil {
		t.Error("a host without a login is no error")
	}
	for _, bad := range []string{"canary", "https://git.example.org canary", "https://u:ca%nary@h"} {
		if _, err := ReadGitLogins([]byte(bad), nil); err == nil || strings.Contains(err.Error(), "nary") {
			t.Errorf("%s: got %v", bad, err)
		}
	}
}
