// Package gitlabapi asks the API of a GitLab server for what its jobs cannot do: fetch artifacts of a
// pipeline and of the child pipelines below it, and keep one note in a merge request.
//
// What a server says is data: pages, sizes and counts have bounds, and no file is written outside of
// the folder that was named. A token goes to no other server than the one that it is for.
package gitlabapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// A Request says which artifacts are wanted.
type Request struct {
	Project  string // its number, or path
	Pipeline int64
	Jobs     string // names of jobs, in which * stands for anything; empty: all
	Paths    string // of files in their artifacts, likewise; empty: all
	Limits   Limits
}

// Limits are what is fetched at most. A field that is 0 has the default that stands with it.
type Limits struct {
	Bytes int64 // of all files together, unpacked; 10 GiB
	Files int   // 100 000
	Jobs  int   // of all pipelines together; 20 000
	Depth int   // of pipelines below pipelines; 4
}

func (l Limits) orDefault() Limits {
	pick := func(v, otherwise int) int {
		if v == 0 {
			return otherwise
		}
		return v
	}
	if l.Bytes == 0 {
		l.Bytes = 10 << 30
	}
	return Limits{l.Bytes, pick(l.Files, 100_000), pick(l.Jobs, 20_000), pick(l.Depth, 4)}
}

// A Job is one whose artifacts were wanted.
type Job struct {
	ID       int64    `json:"id"`
	Name     string   `json:"name"`
	Status   string   `json:"status"`
	Pipeline int64    `json:"pipeline"`
	Files    []string `json:"files"` // that were unpacked, relative to the folder
	project  string
}

// Gather fetches artifacts into a folder, which must exist. Jobs are in the order of the pipelines,
// those of a child behind the job that has started it. Two jobs with different files of one path are
// an error.
func Gather(ctx context.Context, c *Client, r Request, dir string) ([]Job, error) {
	r.Limits = r.Limits.orDefault()
	jobs, err := c.jobs(ctx, r)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	u := unpacker{root: root, wanted: glob(r.Paths), limits: r.Limits, from: map[string]string{}}
	for i := range jobs {
		j := &jobs[i]
		if err := c.fetch(ctx, *j, r.Limits.Bytes, func(archive *os.File) error {
			j.Files, err = u.unpack(archive, j.Name)
			return err
		}); err != nil {
			return jobs, fmt.Errorf("artifacts of job %q (%d): %w", j.Name, j.ID, err)
		}
	}
	return jobs, nil
}

// jobs lists the jobs of a pipeline and of those below it that have wanted artifacts.
func (c *Client) jobs(ctx context.Context, r Request) ([]Job, error) {
	wanted := glob(r.Jobs)
	seen := map[int64]bool{}
	count := 0
	var all []Job
	var walk func(project string, pipeline int64, depth int) error
	walk = func(project string, pipeline int64, depth int) error {
		if seen[pipeline] {
			return nil
		}
		seen[pipeline] = true
		if depth > r.Limits.Depth {
			return fmt.Errorf("pipeline %d is more than %d levels below pipeline %d", pipeline, r.Limits.Depth, r.Pipeline)
		}
		var found []job
		if err := c.pages(ctx, fmt.Sprintf("projects/%s/pipelines/%d/jobs", escape(project), pipeline), &found, r.Limits.Jobs-count); err != nil {
			return fmt.Errorf("jobs of pipeline %d: %w", pipeline, err)
		}
		count += len(found)
		for _, j := range found {
			if j.hasArchive() && wanted.MatchString(j.Name) {
				all = append(all, Job{ID: j.ID, Name: j.Name, Status: j.Status, Pipeline: pipeline, project: project})
			}
		}
		var bridges []bridge
		if err := c.pages(ctx, fmt.Sprintf("projects/%s/pipelines/%d/bridges", escape(project), pipeline), &bridges, r.Limits.Jobs-count); err != nil {
			return fmt.Errorf("child pipelines of pipeline %d: %w", pipeline, err)
		}
		count += len(bridges)
		for _, b := range bridges {
			if b.Downstream == nil || b.Downstream.ID == 0 {
				continue // it has not started one
			}
			below := project
			if b.Downstream.Project != 0 {
				below = fmt.Sprint(b.Downstream.Project)
			}
			if err := walk(below, b.Downstream.ID, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return all, walk(r.Project, r.Pipeline, 0)
}

// glob matches whole names in which * stands for anything; empty matches all.
func glob(pattern string) *regexp.Regexp {
	if pattern == "" {
		pattern = "*"
	}
	var alternatives []string
	for _, p := range strings.Split(pattern, ",") {
		alternatives = append(alternatives, strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`))
	}
	return regexp.MustCompile(`(?s)^(?:` + strings.Join(alternatives, "|") + `)$`)
}

// Total is how many files were unpacked, each path once.
func Total(jobs []Job) int {
	paths := map[string]bool{}
	for _, j := range jobs {
		for _, f := range j.Files {
			paths[f] = true
		}
	}
	return len(slices.Collect(maps.Keys(paths)))
}

var errTooMuch = errors.New("more than is taken")

// limited copies at most so many bytes; more is an error.
func limited(w io.Writer, r io.Reader, most int64) (int64, error) {
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = fmt.Errorf("%w: %d bytes", errTooMuch, most)
	}
	return n, err
}
