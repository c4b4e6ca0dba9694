package targets

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePlanOfAMergeRequestIsANote(t *testing.T) {
	var calls, bodies []string
	refuses := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls = append(calls, r.Method+" "+r.URL.Path)
		switch {
		case r.Header.Get("PRIVATE-TOKEN") != "canary" || refuses:
			http.Error(w, `{"message": "403 Forbidden"}`, http.StatusForbidden)
		case r.URL.Path == "/user":
			_, _ = w.Write([]byte(`{"id": 7}`))
		case r.Method == http.MethodGet:
			_, _ = w.Write([]byte(`[]`))
		default:
			var sent struct{ Body string }
			_ = json.NewDecoder(r.Body).Decode(&sent)
			bodies = append(bodies, sent.Body)
			_, _ = w.Write([]byte(`{}`))
		}
	}))
	defer server.Close()
	t.Chdir(t.TempDir())
	writeFile(t, ConfigFile, "spack: {repos: []}\nplatforms:\n  linux/amd64: {mirror: \"\"}\n  linux/arm64: {mirror: \"\"}\nregistries: []\nci: {gitlab: {note_token: NOTE_TOKEN}}\n")
	writeFile(t, filepath.Join("container_definitions", "amd64", ".keep"), "")
	for name, value := range map[string]string{"GITLAB_CI": "true", "CI_API_V4_URL": server.URL, "CI_MERGE_REQUEST_IID": "3", "CI_MERGE_REQUEST_PROJECT_ID": "42",
		"CI_COMMIT_SHA": "0123abc", "NOTE_TOKEN": "canary", "GITHUB_ACTIONS": ""} {
		t.Setenv(name, value)
	}
	plan := func() {
		t.Helper()
		if text, err := printed(t, func() error { return Ci{}.Gitlab(t.Context(), nil, nil, nil, nil, nil, nil, nil, nil, nil, nil) }); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	plan()
	want := []string{"GET /user", "GET /projects/42/merge_requests/3/notes", "POST /projects/42/merge_requests/3/notes"}
	if strings.Join(calls, "\n") != strings.Join(want, "\n") {
		t.Errorf("calls %q, want %q", calls, want)
	}
	text, err := os.ReadFile("out/ci/plan.md")
	if err != nil || len(bodies) != 1 || !strings.Contains(bodies[0], string(text)) || !strings.Contains(bodies[0], "Of commit 0123abc.") {
		t.Errorf("%v: note %q, plan %q", err, bodies, text)
	}
	if files, err := filepath.Glob("out/ci/*"); err != nil || len(files) != 2 {
		t.Errorf("%v: %q", err, files)
	}
	refuses = true // the plan is the same
	plan()
	calls = nil
	t.Setenv("NOTE_TOKEN", "") // of a fork
	plan()
	if len(calls) > 0 {
		t.Errorf("without a token: %q", calls)
	}
}
