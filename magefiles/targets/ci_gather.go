package targets

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/openbraininstitute/spacktainers/internal/pipeline/gitlabapi"
)

// Gather fetches artifacts of a pipeline of GitLab and of all child pipelines below
// it, which GitLab hands to no job above them. In a job of CI it is that pipeline,
// and the job's own token where that is enough, else GITLAB_API_TOKEN.
func (Ci) Gather(ctx context.Context,
	out *string, // folder for the files (default: out/gathered)
	jobs *string, // only of jobs of these names, by commas; * stands for anything (default: all)
	paths *string, // only these files, by commas; * stands for anything (default: all)
	pipeline *string, // its number (default: that of the job of CI)
	project *string, // its number, or path (default: that of the job of CI)
	api *string, // address of the server's API, such as https://gitlab.example.org/api/v4 (default: that of the job of CI)
	json *bool, // for machines
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	g := a.env.GitLab
	client := gitlabClient(a, or(api, g.API))
	client.JobToken, client.Token = g.JobToken, g.Token
	if client.API != g.API {
		client.JobToken = "" // it is for the job's own server
	}
	number, err := strconv.ParseInt(or(pipeline, g.Pipeline), 10, 64)
	request := gitlabapi.Request{Project: or(project, g.Project), Pipeline: number, Jobs: or(jobs, ""), Paths: or(paths, "")}
	if client.API == "" || request.Project == "" || err != nil || number <= 0 {
		return wrongCall("which pipeline? In a job of GitLab CI it is that of the job; elsewhere: mage ci:gather --api=https://gitlab.example.org/api/v4 --project=GROUP/NAME --pipeline=NUMBER")
	}
	dir := or(out, "out/gathered")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	found, err := gitlabapi.Gather(ctx, client, request, dir)
	if err != nil {
		return err
	}
	if or(json, false) {
		return a.JSON(append([]gitlabapi.Job{}, found...))
	}
	var rows [][]string
	for _, j := range found {
		rows = append(rows, []string{j.Name, fmt.Sprint(j.Pipeline), j.Status, fmt.Sprint(len(j.Files))})
	}
	if len(rows) > 0 {
		if err := a.Table([]string{"job", "pipeline", "status", "files"}, rows); err != nil {
			return err
		}
	}
	a.Log.Info("gathered", "jobs", len(found), "files", gitlabapi.Total(found), "folder", dir)
	return nil
}
