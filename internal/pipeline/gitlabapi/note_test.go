package gitlabapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A board is a stand-in for what GitLab's API has for notes. It pages by two, whatever is asked for.
type board struct {
	mu     sync.Mutex
	notes  []note
	next   int64
	fails  func(n int, r *http.Request, w http.ResponseWriter) bool // of the n-th request, before it is acted on
	breaks func(n int) bool                                         // the answer of the n-th request is lost, after it is
	count  int
	calls  []string // method and path
	tokens []string
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	b.calls = append(b.calls, r.Method+" "+strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/"))
	b.tokens = append(b.tokens, r.Header.Get("PRIVATE-TOKEN"))
	if b.fails != nil && b.fails(b.count, r, w) {
		return
	}
	if r.Header.Get("PRIVATE-TOKEN") != "note-secret" {
		http.Error(w, `{"message": "401 Unauthorized"}`, http.StatusUnauthorized)
		return
	}
	var sent note
	_ = json.NewDecoder(r.Body).Decode(&sent)
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/")
	id, _ := strconv.ParseInt(path[strings.LastIndexByte(path, '/')+1:], 10, 64)
	at := slices.IndexFunc(b.notes, func(n note) bool { return n.ID == id })
	var answer any = struct{}{}
	switch {
	case path == "user":
		answer = map[string]any{"id": 7, "username": "project_1_bot"}
	case !strings.HasPrefix(path, "projects/group%2Fproject/merge_requests/3/notes"):
		http.NotFound(w, r)
		return
	case r.Method == http.MethodGet:
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		begin, end := min(len(b.notes), 2*(page-1)), min(len(b.notes), 2*page)
		w.Header().Set("X-Next-Page", "")
		if end < len(b.notes) {
			w.Header().Set("X-Next-Page", strconv.Itoa(page+1))
		}
		answer = b.notes[begin:end]
	case r.Method == http.MethodPost:
		b.add(7, sent.Body)
		w.WriteHeader(http.StatusCreated)
	case at < 0:
		http.NotFound(w, r)
		return
	case r.Method == http.MethodPut:
		b.notes[at].Body = sent.Body
	case r.Method == http.MethodDelete:
		b.notes = slices.Delete(b.notes, at, at+1)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if b.breaks != nil && b.breaks(b.count) {
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (b *board) add(author int64, body string) {
	b.next++
	n := note{ID: b.next, Body: body}
	n.Author.ID = author
	b.notes = append(b.notes, n)
}

// write writes a text, and returns what was waited for, too.
func (b *board) write(t *testing.T, text string) (did string, waited []time.Duration, err error) {
	t.Helper()
	server := httptest.NewServer(b)
	defer server.Close()
	c := &Client{API: server.URL + "/api/v4", Token: "note-secret", Sleep: func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		return nil
	}}
	did, err = c.WriteNote(t.Context(), Note{Project: "group/project", MergeRequest: 3, Marker: "plan", Text: text})
	if err != nil && strings.Contains(err.Error(), "note-secret") {
		t.Errorf("the token is in the error: %v", err)
	}
	return did, waited, err
}

// own are the texts of our notes.
func (b *board) own() (texts []string) {
	for _, n := range b.notes {
		if n.Author.ID == 7 && strings.HasPrefix(n.Body, "<!-- plan -->\n") {
			texts = append(texts, strings.TrimPrefix(n.Body, "<!-- plan -->\n"))
		}
	}
	return texts
}

// others are three pages of what other people say, also what looks like the note.
func others() *board {
	b := &board{}
	b.add(9, "<!-- plan -->\nof somebody else")
	b.add(7, "about a <!-- plan -->")
	for i := range 3 {
		b.add(9, fmt.Sprintf("looks good %d", i))
	}
	return b
}

func TestAMergeRequestHasOneNoteThatChanges(t *testing.T) {
	b := others()
	for _, step := range []struct{ text, did string }{{"one", "created"}, {"one", "unchanged"}, {"two", "changed"}, {"two", "unchanged"}} {
		b.add(9, "in between")
		did, _, err := b.write(t, step.text)
		if err != nil || did != step.did || !slices.Equal(b.own(), []string{step.text}) {
			t.Fatalf("%s: %s, %v, notes %q", step.text, did, err, b.own())
		}
	}
	if b.notes[0].Body != "<!-- plan -->\nof somebody else" || b.notes[1].Body != "about a <!-- plan -->" {
		t.Errorf("what others have written is changed: %+v", b.notes[:2])
	}
	b.add(7, "<!-- plan -->\nof a pipeline at the same time")
	if _, _, err := b.write(t, "three"); err != nil || !slices.Equal(b.own(), []string{"three"}) {
		t.Errorf("of two: %v, %q", err, b.own())
	}
}

func TestANoteIsWrittenOnceWhateverTheServerDoes(t *testing.T) {
	for n := 1; n <= 6; n++ { // user, three pages, the note, and one more
		b := others()
		b.fails = func(count int, _ *http.Request, w http.ResponseWriter) bool {
			if count == n {
				w.Header().Set("Retry-After", "7")
				http.Error(w, `{"message": "slow down"}`, []int{429, 500, 503}[n%3])
			}
			return count == n
		}
		did, waited, err := b.write(t, "text")
		if err != nil || did != "created" || !slices.Equal(b.own(), []string{"text"}) {
			t.Errorf("request %d fails: %s, %v, %q", n, did, err, b.own())
		}
		if n < 6 && !slices.Equal(waited, []time.Duration{7 * time.Second}) {
			t.Errorf("request %d fails: waited %v", n, waited)
		}

		b = others()
		b.breaks = func(count int) bool { return count == n }
		if did, _, err := b.write(t, "text"); err != nil || !slices.Equal(b.own(), []string{"text"}) {
			t.Errorf("the answer of request %d is lost: %s, %v, %q", n, did, err, b.own())
		}
	}
}

func TestANoteThatMayNotBeWrittenIsAnErrorAtOnce(t *testing.T) {
	for _, code := range []int{401, 403, 404, 422} {
		b := others()
		b.fails = func(_ int, r *http.Request, w http.ResponseWriter) bool {
			if r.Method == http.MethodPost {
				http.Error(w, `{"message": "no"}`, code)
			}
			return r.Method == http.MethodPost
		}
		if _, waited, err := b.write(t, "text"); err == nil || !strings.Contains(err.Error(), strconv.Itoa(code)) || len(waited) > 0 {
			t.Errorf("%d: %v, waited %v", code, err, waited)
		}
	}
	b := others()
	b.fails = func(_ int, _ *http.Request, w http.ResponseWriter) bool {
		http.Error(w, "", http.StatusBadGateway)
		return true
	}
	if _, waited, err := b.write(t, "text"); err == nil || len(waited) != maxTries-1 {
		t.Errorf("a server that is down: %v, waited %v", err, waited)
	}
	if _, _, err := others().write(t, strings.Repeat("a", maxNoteText)); err == nil || !strings.Contains(err.Error(), "GitLab takes 1000000") {
		t.Errorf("a long text: %v", err)
	}
}

// Neither the token nor the text goes where a redirect leads.
func TestANoteIsWrittenNowhereElse(t *testing.T) {
	elsewhere := others()
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
		b := others()
		if method == http.MethodPut {
			b.add(7, "<!-- plan -->\nold")
		}
		b.fails = func(_ int, r *http.Request, w http.ResponseWriter) bool {
			if r.Method == method {
				http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.String(), http.StatusTemporaryRedirect)
			}
			return r.Method == method
		}
		if _, _, err := b.write(t, "text"); err == nil {
			t.Errorf("%s is redirected: no error", method)
		}
	}
	if slices.ContainsFunc(elsewhere.tokens, func(token string) bool { return token != "" }) {
		t.Errorf("a token arrived: %q", elsewhere.tokens)
	}
	if slices.ContainsFunc(elsewhere.calls, func(call string) bool { return !strings.HasPrefix(call, "GET ") }) {
		t.Errorf("something was written: %q", elsewhere.calls)
	}
}
