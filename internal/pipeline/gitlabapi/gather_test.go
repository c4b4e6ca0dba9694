package gitlabapi

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A gitlab is a stand-in for GitLab's API: it pages, throttles and fails.
type gitlab struct {
	t       *testing.T
	jobs    map[int64][]job    // by pipeline
	bridges map[int64][]bridge // by pipeline
	files   map[int64][]byte   // archives, by job
	storage string             // where archives are, if elsewhere

	jobTokenMay func(path string) bool
	fails       func(n int, path string) (code int, after string) // of the n-th request for a path

	mu       sync.Mutex
	requests map[string]int
	tokens   map[string][]string // headers with tokens that came along, by path
}

func (g *gitlab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/projects/")
	at := path + "?" + r.URL.RawQuery
	g.requests[at]++
	for _, h := range []string{"JOB-TOKEN", "PRIVATE-TOKEN"} {
		if r.Header.Get(h) != "" {
			g.tokens[path] = append(g.tokens[path], h)
		}
	}
	if g.fails != nil {
		if code, after := g.fails(g.requests[at], path); code != 0 {
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			http.Error(w, `{"message": "not now"}`, code)
			return
		}
	}
	isJobs := r.Header.Get("JOB-TOKEN") == "job-secret"
	if !(r.Header.Get("PRIVATE-TOKEN") == "user-secret" || isJobs && (g.jobTokenMay == nil || g.jobTokenMay(path))) {
		http.Error(w, `{"message": "401 Unauthorized"}`, http.StatusUnauthorized)
		return
	}
	project, rest, _ := strings.Cut(path, "/")
	parts := strings.Split(rest, "/")
	id, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || project != "42" && project != "group%2Fproject" {
		http.NotFound(w, r)
		return
	}
	switch parts[2] {
	case "artifacts":
		if g.storage != "" {
			http.Redirect(w, r, g.storage+"/"+parts[1]+"?X-Amz-Signature=abc", http.StatusFound)
			return
		}
		_, _ = w.Write(g.files[id])
	case "jobs":
		page(w, r, g.jobs[id])
	case "bridges":
		page(w, r, g.bridges[id])
	}
}

func page[T any](w http.ResponseWriter, r *http.Request, all []T) {
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	size, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	begin, end := min(len(all), (n-1)*size), min(len(all), n*size)
	w.Header().Set("X-Next-Page", "")
	if end < len(all) {
		w.Header().Set("X-Next-Page", strconv.Itoa(n+1))
	}
	_ = json.NewEncoder(w).Encode(append([]T{}, all[begin:end]...))
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range files {
			if !yield(n) {
				return
			}
		}
	}) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func withFile(id int64, name string) job {
	j := job{ID: id, Name: name, Status: "success"}
	j.File = &struct {
		Name string `json:"filename"`
	}{"artifacts.zip"}
	return j
}

func child(id int64) bridge {
	var b bridge
	if err := json.Unmarshal(fmt.Appendf(nil, `{"downstream_pipeline": {"id": %d, "project_id": 42}}`, id), &b); err != nil {
		panic(err)
	}
	return b
}

// newGitLab has a pipeline 1 with 250 jobs and a child 2, whose child is 3.
func newGitLab(t *testing.T) (*gitlab, *Client) {
	g := &gitlab{t: t, requests: map[string]int{}, tokens: map[string][]string{}, files: map[int64][]byte{},
		jobs: map[int64][]job{}, bridges: map[int64][]bridge{1: {child(2), {}}, 2: {child(3)}, 3: {child(1)}}}
	for i := range int64(250) {
		g.jobs[1] = append(g.jobs[1], job{ID: 1000 + i, Name: fmt.Sprintf("packages %d", i)})
	}
	g.jobs[1] = append(g.jobs[1], withFile(1, "plan"))
	g.jobs[2] = []job{withFile(2, "lock server amd64"), withFile(3, "lock server arm64")}
	g.jobs[3] = []job{withFile(4, "container server amd64")}
	g.files[1] = archive(t, map[string]string{"out/ci/pipeline.yml": "stages: []\n"})
	g.files[2] = archive(t, map[string]string{"container_definitions/amd64/server/spack.lock": "{1}"})
	g.files[3] = archive(t, map[string]string{"container_definitions/arm64/server/spack.lock": "{2}", "log/x.txt": "x"})
	g.files[4] = archive(t, map[string]string{"out/images/server/linux-amd64.json": "{}"})
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return g, &Client{API: server.URL + "/api/v4", JobToken: "job-secret", Token: "user-secret",
		Sleep: func(context.Context, time.Duration) error { return nil }}
}

func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		found[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestArtifactsOfAllPipelinesBelowAreGathered(t *testing.T) {
	g, c := newGitLab(t)
	dir := t.TempDir()
	for range 2 { // a second time over the first
		jobs, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 1}, dir)
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, dir)
		if len(jobs) != 4 || Total(jobs) != 5 || len(got) != 5 || got["container_definitions/arm64/server/spack.lock"] != "{2}" || jobs[3].Pipeline != 3 {
			t.Errorf("got %v of %v", got, jobs)
		}
	}
	if g.requests["42/pipelines/1/jobs?per_page=100&page=3"] != 2 {
		t.Errorf("the third page was not asked for: %v", g.requests)
	}
	dir = t.TempDir()
	jobs, err := Gather(t.Context(), c, Request{Project: "group/project", Pipeline: 2, Jobs: "lock *,other", Paths: "container_definitions/*/spack.lock"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir); len(jobs) != 2 || len(got) != 2 || got["log/x.txt"] != "" {
		t.Errorf("of some jobs, got %v of %v", got, jobs)
	}
}

func TestTheJobsTokenIsUsedWhereItIsEnough(t *testing.T) {
	g, c := newGitLab(t)
	g.jobTokenMay = func(path string) bool { return strings.HasSuffix(path, "/artifacts") }
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 2}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	c.Token = ""
	_, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 2}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "jobs of pipeline 2: the server answers 401 Unauthorized") || !strings.Contains(err.Error(), "set GITLAB_API_TOKEN, with the scope read_api") {
		t.Errorf("got %v", err)
	}
	g.jobTokenMay, g.tokens = nil, map[string][]string{}
	c.Token = "user-secret"
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 2}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for path, headers := range g.tokens {
		if slices.Contains(headers, "PRIVATE-TOKEN") {
			t.Errorf("%s was asked with the user's token, and the job's is enough", path)
		}
	}
}

func TestABusyServerIsAskedAgain(t *testing.T) {
	g, c := newGitLab(t)
	var waits []time.Duration
	c.Sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	g.fails = func(n int, path string) (int, string) {
		switch {
		case strings.HasSuffix(path, "/jobs") && n == 1:
			return http.StatusTooManyRequests, "7"
		case strings.HasSuffix(path, "/artifacts") && n < 3:
			return http.StatusBadGateway, ""
		case strings.HasSuffix(path, "/bridges") && n == 1:
			return http.StatusServiceUnavailable, "86400"
		}
		return 0, ""
	}
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 3}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(waits, 7*time.Second) || !slices.Contains(waits, time.Minute) || slices.Max(waits) > time.Minute {
		t.Errorf("waited for %v", waits)
	}
	g.fails = func(int, string) (int, string) { return http.StatusInternalServerError, "" }
	g.requests = map[string]int{}
	_, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 3}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), `500 Internal Server Error: "not now"`) || g.requests["42/pipelines/3/jobs?per_page=100&page=1"] != maxTries {
		t.Errorf("got %v after %v", err, g.requests)
	}
	g.fails = func(int, string) (int, string) { return http.StatusBadRequest, "" }
	g.requests = map[string]int{}
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 3}, t.TempDir()); err == nil || g.requests["42/pipelines/3/jobs?per_page=100&page=1"] != 1 {
		t.Errorf("a wrong request is made %v, with %v", g.requests, err)
	}
}

func TestATokenStaysWithItsServer(t *testing.T) {
	g, c := newGitLab(t)
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), "secret") {
				t.Errorf("the storage was given %s", name)
			}
		}
		_, _ = w.Write(g.files[4])
	}))
	defer storage.Close()
	g.storage = storage.URL
	dir := t.TempDir()
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 3, Jobs: "container *"}, dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	g.storage = "http://127.0.0.1:1"
	_, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 3, Jobs: "container *"}, dir)
	if err == nil || strings.Contains(err.Error(), "Signature") || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a signed address or a token: %v", err)
	}
}

func TestWhatAnArchiveHoldsStaysInTheFolder(t *testing.T) {
	g, c := newGitLab(t)
	g.bridges = nil
	gather := func(dir string, limits Limits) error {
		_, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 3, Limits: limits}, dir)
		return err
	}
	for _, name := range []string{"../x", "/etc/x", "a/../../x", `a\..\x`, "a/./../../x"} {
		g.files[4] = archive(t, map[string]string{name: "x"})
		dir := t.TempDir()
		if err := gather(dir, Limits{}); err == nil || !strings.Contains(err.Error(), "which is not in it") {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "x")); err == nil {
			t.Errorf("%s was written beside the folder", name)
		}
	}

	var b bytes.Buffer // a symbolic link, and a file behind it
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "link"}
	h.SetMode(os.ModeSymlink | 0o777)
	w, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, "/etc")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	g.files[4] = b.Bytes()
	dir := t.TempDir()
	if err := gather(dir, Limits{}); err != nil || len(read(t, dir)) != 0 {
		t.Errorf("a link: %v, %v", err, read(t, dir))
	}

	outside := t.TempDir() // a link that is in the folder already
	if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	g.files[4] = archive(t, map[string]string{"out/x": "x"})
	if err := gather(dir, Limits{}); err == nil || len(read(t, outside)) != 0 {
		t.Errorf("written through a link: %v", err)
	}

	g.files[4] = archive(t, map[string]string{"big": strings.Repeat("0", 1<<20)})
	if err := gather(t.TempDir(), Limits{Bytes: 10_000}); !errors.Is(err, errTooMuch) {
		t.Errorf("a file that unpacks to more than is taken: %v", err)
	}
	g.files[4] = archive(t, map[string]string{"a": "", "b": "", "c": ""})
	if err := gather(t.TempDir(), Limits{Files: 2}); !errors.Is(err, errTooMuch) {
		t.Errorf("more files than are taken: %v", err)
	}
	g.files[4] = []byte("<html>")
	if err := gather(t.TempDir(), Limits{}); err == nil || !strings.Contains(err.Error(), `artifacts of job "container server amd64" (4): no zip archive`) {
		t.Errorf("got %v", err)
	}
}

func TestTwoJobsWithDifferentFilesOfOnePath(t *testing.T) {
	g, c := newGitLab(t)
	g.files[3] = archive(t, map[string]string{"container_definitions/amd64/server/spack.lock": "{1}"})
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 2}, t.TempDir()); err != nil {
		t.Errorf("the same file: %v", err)
	}
	g.files[3] = archive(t, map[string]string{"container_definitions/amd64/server/spack.lock": "{3}"})
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 2}, t.TempDir()); err == nil || !strings.Contains(err.Error(), `job "lock server amd64" has another file of this path`) {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatNeverEndsIsLeft(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"pages without end": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Next-Page", "2")
			_ = json.NewEncoder(w).Encode(make([]job, perPage))
		},
		"a page without end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "[")
			for range maxPage/1000 + 10 {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1000)); err != nil {
					return
				}
			}
		},
		"no JSON": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"redirects without end": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		},
	} {
		server := httptest.NewServer(http.HandlerFunc(answer))
		c := &Client{API: server.URL, Token: "x", Sleep: func(context.Context, time.Duration) error { t.Errorf("%s: asked again", name); return nil }}
		if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 1, Limits: Limits{Jobs: 1000}}, t.TempDir()); err == nil {
			t.Errorf("%s: no error", name)
		}
		server.Close()
	}
	g, c := newGitLab(t)
	g.bridges = map[int64][]bridge{}
	for i := range int64(20) {
		g.bridges[i] = []bridge{child(i + 1)}
	}
	if _, err := Gather(t.Context(), c, Request{Project: "42", Pipeline: 1}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "levels below pipeline 1") {
		t.Errorf("got %v", err)
	}
}
