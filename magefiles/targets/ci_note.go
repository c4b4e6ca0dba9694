package targets

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/pipeline/gitlabapi"
)

// noteTime is how long a plan waits for its note to be written.
const noteTime = 5 * time.Minute

// writeNote writes a plan into the merge request that this is a job of, where a token for that is
// configured and there: the jobs of one from a fork have none. The note is for people: what keeps it
// from being written is said, and fails nothing.
func (a *app) writeNote(ctx context.Context, text string) {
	name, g := a.config.CI.GitLab.NoteToken, a.env.GitLab
	if name == "" || g.MergeRequest == "" || g.API == "" {
		return
	}
	token := a.env.secret(name)
	if token == "" {
		a.Log.Info("the merge request gets no note: this job has no such variable, as those of forks have not", "variable", name)
		return
	}
	client := gitlabClient(a, g.API)
	client.Token = token
	number, err := strconv.ParseInt(g.MergeRequest, 10, 64)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, noteTime)
		defer cancel()
		var commit string
		if a.env.Git.Commit != "" {
			commit = "\n\nOf commit " + strings.ToLower(a.env.Git.Commit) + ".\n"
		}
		var did string
		did, err = client.WriteNote(ctx, gitlabapi.Note{Project: g.Target, MergeRequest: number, Marker: "spacktainers: plan",
			Text: "### What this merge request builds\n\n" + text + commit})
		if err == nil {
			a.Log.Info("note in the merge request", "number", number, "is", did)
			return
		}
	}
	a.Log.Warn("the merge request gets no note: the token in the variable wants the scope api and the role Reporter", "variable", name, "why", err)
}

// gitlabClient speaks with the API of a server, and says what it tries again. It has no token yet.
func gitlabClient(a *app, api string) *gitlabapi.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Minute
	return &gitlabapi.Client{HTTP: &http.Client{Transport: transport, Timeout: time.Hour}, API: api, Notice: func(text string) { a.Log.Warn(text) }}
}
