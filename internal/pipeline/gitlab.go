package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// GitLab says how pipelines of GitLab CI are written.
type GitLab struct {
	Command  string                       // what a job calls a target with, such as mage; a line of shell
	Dir      string                       // where the pipelines' files are, relative to the repository, such as out/ci
	Share    time.Duration                // packages that take no longer than this together share a job; 0: half an hour
	Jobs     GitLabJob                    // of all jobs
	Steps    map[Kind]GitLabJob           // over those, by what the job does
	Platform map[string]GitLabJob         // over those, by platform
	Limits   GitLabLimits                 // those of the server
	Caches   bool                         // there are build caches, for the janitor
	Prune    bool                         // the scheduled janitor prunes; otherwise it says what would go
	Nested   bool                         // this is a child of a child: no more levels are allowed
	Mirror   func(platform string) string // of an index step; nil: the platform's
}

// A GitLabJob is what jobs are run with. What is empty is as GitLab has it.
type GitLabJob struct {
	Tags      []string
	Image     string
	Before    []string // lines of shell
	Timeout   time.Duration
	Variables map[string]string
	IDTokens  map[string]string // audience by the variable that the token will be in
	Retry     int
}

// over returns the settings with those of another one in front.
func (j GitLabJob) over(below GitLabJob) GitLabJob {
	merge := func(a, b map[string]string) map[string]string {
		all := maps.Clone(b)
		if all == nil {
			return a
		}
		maps.Copy(all, a)
		return all
	}
	if len(j.Tags) == 0 {
		j.Tags = below.Tags
	}
	if len(j.Before) == 0 {
		j.Before = below.Before
	}
	j.Image, j.Timeout, j.Retry = cmp.Or(j.Image, below.Image), cmp.Or(j.Timeout, below.Timeout), cmp.Or(j.Retry, below.Retry)
	j.Variables, j.IDTokens = merge(j.Variables, below.Variables), merge(j.IDTokens, below.IDTokens)
	return j
}

// A job of GitLab, before it is known in which pipeline it is.
type job struct {
	name      string
	kind      Kind
	platform  string
	lines     [][]string // one call of a target each
	needs     []need
	artifacts []string
	always    bool   // also if jobs before it failed
	optional  bool   // its failure fails no pipeline
	level     int    // of package jobs
	stage     string // empty: by kind and level

	container string // what it is about, so that its jobs stay together
}

// A need is a job that must be done before, and whether its artifacts are taken.
type need struct {
	job       string
	artifacts bool
	pipeline  string // of another pipeline, whose artifacts are taken; empty: of this one
}

// Names of files that are written.
const pipelineFile = "pipeline.yml"

// Files returns the pipelines as the text of files by their names. The first, pipeline.yml, is to be
// the child of a pipeline in whose job `plan` it was made; where one file is not enough for all
// jobs, it starts the others.
//
// All files are within GitLab's limits: where splitting does not help, the error says which limit
// and where.
func (c GitLab) Files(g *Graph) (map[string][]byte, error) {
	c.Limits = c.Limits.orDefault()
	if g.Empty() {
		return c.check(map[string][]byte{pipelineFile: c.render([]job{nothing(g)})})
	}
	if locks := g.Of(Concretization, ""); len(locks) > 0 {
		return c.lockFirst(g, locks)
	}
	jobs, packages := c.jobs(g)
	single, err := c.check(map[string][]byte{pipelineFile: c.render(jobs)})
	if err == nil {
		return single, nil
	}
	if c.Nested {
		return nil, fmt.Errorf("%w: where lockfiles are missing, all else must fit into one pipeline: commit lockfiles, which mage containers:lock NAME --save makes", err)
	}
	return c.split(jobs, packages)
}

// nothing is the job of a pipeline in which there is nothing to do: GitLab takes none without jobs.
func nothing(g *Graph) job {
	return job{name: "nothing to do", lines: [][]string{{"echo", g.Summary()}}}
}

// jobs returns all jobs, and how many of them build packages: those come behind the base images.
func (c GitLab) jobs(g *Graph) (all []job, packages [][]job) {
	byStep := map[string]string{} // names of jobs by the IDs of their steps
	for _, s := range g.Of(BaseImage, "") {
		byStep[s.ID] = fmt.Sprintf("base %s %s", s.Name, arch(s.Platform))
		all = append(all, job{name: byStep[s.ID], kind: BaseImage, platform: s.Platform,
			lines: [][]string{{"publish:base", s.Name, "--platform=" + s.Platform}}})
	}
	for _, platform := range g.Platforms() {
		packed := Pack(g, platform, cmp.Or(c.Share, 30*time.Minute))
		var jobs []job
		for _, p := range packed {
			j := job{name: p.Name, kind: Package, platform: platform, level: p.Level,
				lines: [][]string{{"ci:package", strings.Join(p.Hashes(), ","), "--platform=" + platform, "--container=" + strings.Join(p.Containers(), ",")}}}
			for _, n := range p.Needs {
				j.needs = append(j.needs, need{job: packed[n].Name})
			}
			for _, id := range p.Other {
				j.needs = append(j.needs, need{job: byStep[id]})
			}
			for _, s := range p.Packages {
				byStep[s.ID] = p.Name
			}
			jobs = append(jobs, j)
		}
		if len(jobs) > 0 {
			all, packages = append(all, jobs...), append(packages, jobs)
		}
	}
	for _, s := range g.Steps {
		if s.Kind == BaseImage || s.Kind == Package {
			continue
		}
		j := c.step(s)
		byStep[s.ID] = j.name
		for _, id := range s.Needs {
			n, _ := g.Step(id)
			j.needs = append(j.needs, need{job: byStep[id], artifacts: n.Kind == Image})
		}
		slices.SortFunc(j.needs, func(a, b need) int { return cmp.Compare(a.job, b.job) })
		j.needs = slices.CompactFunc(j.needs, func(a, b need) bool { return a.job == b.job })
		all = append(all, j)
	}
	if c.Caches {
		all = append(all, job{name: "janitor", lines: [][]string{{"janitor:prune", "--dry-run"}}, optional: true, always: true})
	}
	return all, packages
}

// step is the job of a step that has one for itself.
func (c GitLab) step(s Step) job {
	j := job{kind: s.Kind, platform: s.Platform, container: s.Name}
	switch on := "--platform=" + s.Platform; s.Kind {
	case Index:
		j.name, j.always, j.container = "index "+arch(s.Platform), true, ""
		j.lines = [][]string{{"janitor:reindex"}}
		if c.Mirror != nil && c.Mirror(s.Platform) != "" {
			j.lines[0] = append(j.lines[0], "--mirror="+c.Mirror(s.Platform))
		}
	case Image:
		j.name = fmt.Sprintf("container %s %s", s.Name, arch(s.Platform))
		j.lines = [][]string{{"containers:build", s.Name, on}}
		j.artifacts = []string{"out/images/" + s.Name}
	case Publication:
		j.name = "publish " + s.Name
		j.lines = [][]string{{"publish:container", s.Name}}
	case SIF:
		j.name = fmt.Sprintf("sif %s %s", s.Name, arch(s.Platform))
		j.lines = [][]string{{"sif:build", s.Name, on}, {"sif:upload", s.Name, on}}
	}
	return j
}

// lockFirst makes the lockfiles that are missing, then plans again in a pipeline below, with all
// that is known by then.
func (c GitLab) lockFirst(g *Graph, locks []Step) (map[string][]byte, error) {
	if c.Nested {
		return nil, fmt.Errorf("%s for %s has no lockfile still, after a job that was to make it", locks[0].Name, locks[0].Platform)
	}
	var jobs []job
	byStep := map[string]string{}
	for _, s := range g.Of(BaseImage, "") {
		byStep[s.ID] = fmt.Sprintf("base %s %s", s.Name, arch(s.Platform))
		jobs = append(jobs, job{name: byStep[s.ID], kind: BaseImage, platform: s.Platform,
			lines: [][]string{{"publish:base", s.Name, "--platform=" + s.Platform}}})
	}
	plan := job{name: "plan", lines: [][]string{{"ci:gitlab", "--out=" + c.Dir, "--nested"}}, artifacts: []string{c.Dir}}
	for _, s := range locks {
		j := job{name: fmt.Sprintf("lock %s %s", s.Name, arch(s.Platform)), kind: Concretization, platform: s.Platform,
			lines: [][]string{{"containers:lock", s.Name, "--platform=" + s.Platform, "--save"}}, artifacts: []string{s.Path}}
		for _, id := range s.Needs {
			j.needs = append(j.needs, need{job: byStep[id]})
		}
		jobs = append(jobs, j)
		plan.needs = append(plan.needs, need{job: j.name, artifacts: true})
	}
	return c.check(map[string][]byte{pipelineFile: c.render(append(jobs, plan), trigger{name: "build", kind: planned, file: pipelineFile, from: "plan", needs: []need{{job: "plan"}}, dir: c.Dir})})
}

func arch(platform string) string { return platform[strings.LastIndexByte(platform, '/')+1:] }
