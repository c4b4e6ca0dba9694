package targets

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/pipeline"
	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// GitLabPipelines are pipelines of GitLab CI.
type GitLabPipelines struct {
	Command   string                `yaml:"command"`   // what a job calls a target with (default: go run magefile.go, or spacktainers in an image)
	Jobs      GitLabJobs            `yaml:"jobs"`      // of all jobs
	Steps     map[string]GitLabJobs `yaml:"steps"`     // over those, by what a job does: base, lock, package, index, container, publish or sif
	Platforms map[string]GitLabJobs `yaml:"platforms"` // over those, by platform
	Limits    GitLabLimits          `yaml:"limits"`
	NoteToken string                `yaml:"note_token"` // name of the variable with a token that may write a note into merge requests; the token never stands here
}

// GitLabJobs are what jobs are run with.
type GitLabJobs struct {
	Tags      []string          `yaml:"tags"` // of runners
	Image     string            `yaml:"image"`
	Before    []string          `yaml:"before"` // lines of shell that come first
	Timeout   Duration          `yaml:"timeout"`
	Retry     int               `yaml:"retry"`     // after failures of the runner, not of the job; at most 2
	Resources GitLabResources   `yaml:"resources"` // that are asked of Kubernetes
	Proxy     string            `yaml:"proxy"`
	NoProxy   string            `yaml:"no_proxy"`
	Variables map[string]string `yaml:"variables"` // secrets never stand here
	IDTokens  map[string]string `yaml:"id_tokens"` // audience by variable
}

// GitLabResources are as Kubernetes writes them: 4, 500m, 16Gi.
type GitLabResources struct {
	CPU    string `yaml:"cpu"`
	Memory string `yaml:"memory"`
	Disk   string `yaml:"disk"`
}

// GitLabLimits are those of a server that differ from gitlab.com's.
type GitLabLimits struct {
	Jobs     int `yaml:"jobs"`     // of a pipeline (default: 500)
	Needs    int `yaml:"needs"`    // of a job (default: 50)
	YAML     int `yaml:"yaml"`     // bytes in memory (default: 2 MiB)
	Artifact int `yaml:"artifact"` // bytes of the artifact with the pipelines (default: 5 MiB)
}

// settings are the same as the pipeline takes them.
func (j GitLabJobs) settings() pipeline.GitLabJob {
	s := pipeline.GitLabJob{Tags: j.Tags, Image: j.Image, Before: j.Before, Timeout: time.Duration(j.Timeout), Retry: j.Retry, IDTokens: j.IDTokens, Variables: map[string]string{}}
	add := func(value string, names ...string) {
		for _, name := range names {
			if value != "" {
				s.Variables[name] = value
			}
		}
	}
	add(j.Resources.CPU, "KUBERNETES_CPU_REQUEST")
	add(j.Resources.Memory, "KUBERNETES_MEMORY_REQUEST", "KUBERNETES_MEMORY_LIMIT")
	add(j.Resources.Disk, "KUBERNETES_EPHEMERAL_STORAGE_REQUEST")
	add(j.Proxy, "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
	add(j.NoProxy, "NO_PROXY", "no_proxy")
	maps.Copy(s.Variables, j.Variables)
	return s
}

// gitlab is how pipelines are written whose files are in a folder.
func (c Config) gitlab(dir string, nested bool) pipeline.GitLab {
	own := c.CI.GitLab
	own.Jobs.Image = cmp.Or(own.Jobs.Image, c.CI.Image)
	g := pipeline.GitLab{
		Command: cmp.Or(own.Command, c.CI.command()), Dir: dir, Share: time.Duration(c.CI.JobTime), Nested: nested, Caches: c.caches(), Prune: c.CI.Prune, Jobs: own.Jobs.settings(),
		Steps: map[pipeline.Kind]pipeline.GitLabJob{}, Platform: map[string]pipeline.GitLabJob{},
		Limits: pipeline.GitLabLimits{Jobs: own.Limits.Jobs, Needs: own.Limits.Needs, Bytes: own.Limits.YAML, Artifact: int64(own.Limits.Artifact)},
	}
	for kind, jobs := range own.Steps {
		g.Steps[pipeline.Kind(kind)] = jobs.settings()
	}
	for platform, jobs := range own.Platforms {
		g.Platform[platform] = jobs.settings()
	}
	return g
}

var (
	quantity     = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?([mkMGT]i?)?$`)
	ciVariable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	secretName   = regexp.MustCompile(`(?i)TOKEN|SECRET|PASSW|PRIVATE|CREDENTIAL|ACCESS_KEY`)
	onlyVariable = regexp.MustCompile(`^\$(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*)$`)
)

// checkGitLab refuses what GitLab would refuse, or would take for something else, and secrets.
func (c Config) checkGitLab(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	g := c.CI.GitLab
	if strings.ContainsAny(g.Command, "\n\r\x00") {
		_, at := yamlstrict.Find(data, "ci", "gitlab", "command")
		fail(at, "command is one line of shell, in front of the target's name")
	}
	if g.NoteToken != "" && !ciVariable.MatchString(g.NoteToken) {
		_, at := yamlstrict.Find(data, "ci", "gitlab", "note_token")
		fail(at, "note_token is no name of a variable of GitLab's settings, in which the token is")
	}
	check := func(j GitLabJobs, keys ...string) {
		j.check(func(key, format string, args ...any) {
			place := append(append([]string{"ci", "gitlab"}, keys...), strings.Split(key, ".")...)
			_, at := yamlstrict.Find(data, place...)
			fail(at, format, args...)
		})
	}
	check(g.Jobs, "jobs")
	var kinds []string
	for _, k := range pipeline.Kinds {
		kinds = append(kinds, string(k))
	}
	for _, name := range slices.Sorted(maps.Keys(g.Steps)) {
		if !slices.Contains(kinds, name) {
			at, _ := yamlstrict.Find(data, "ci", "gitlab", "steps", name)
			fail(at, "no job does %q: %s", name, suggest.Hint(name, kinds))
		}
		check(g.Steps[name], "steps", name)
	}
	known := slices.Sorted(maps.Keys(defaultConfig().Platforms))
	for _, name := range slices.Sorted(maps.Keys(g.Platforms)) {
		if !slices.Contains(known, name) {
			at, _ := yamlstrict.Find(data, "ci", "gitlab", "platforms", name)
			fail(at, "unknown platform %q: %s", name, suggest.Hint(name, known))
		}
		check(g.Platforms[name], "platforms", name)
	}
	for key, n := range map[string]int{"jobs": g.Limits.Jobs, "needs": g.Limits.Needs, "yaml": g.Limits.YAML, "artifact": g.Limits.Artifact} {
		if n < 0 {
			_, at := yamlstrict.Find(data, "ci", "gitlab", "limits", key)
			fail(at, "%s is %d, want 1 or more", key, n)
		}
	}
}

func (j GitLabJobs) check(wrong func(key, format string, args ...any)) {
	for i, tag := range j.Tags {
		if tag == "" || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r == ',' }) {
			wrong("tags."+strconv.Itoa(i), "%q is no tag of a runner", tag)
		}
	}
	if strings.ContainsAny(j.Image, " \n\t") {
		wrong("image", "%q is no image", j.Image)
	}
	if t := time.Duration(j.Timeout); t != 0 && (t < time.Minute || t > 30*24*time.Hour) {
		wrong("timeout", "timeout is %s, want 1m to 30d", t)
	}
	if j.Retry < 0 || j.Retry > 2 {
		wrong("retry", "retry is %d, want 0 to 2", j.Retry)
	}
	for key, value := range map[string]string{"cpu": j.Resources.CPU, "memory": j.Resources.Memory, "disk": j.Resources.Disk} {
		if value != "" && !quantity.MatchString(value) {
			wrong("resources."+key, "%q is no amount, as Kubernetes writes it: 4, 500m, 16Gi", value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.Variables)) {
		switch value := j.Variables[name]; {
		case !ciVariable.MatchString(name):
			wrong("variables."+name, "%q is no name of a variable", name)
		case secretName.MatchString(name) && !onlyVariable.MatchString(value):
			wrong("variables."+name, "%s is named like a secret, which stands in GitLab's settings and not here; a reference such as $NAME is taken", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.IDTokens)) {
		if !ciVariable.MatchString(name) || j.IDTokens[name] == "" {
			wrong("id_tokens."+name, "%s: want a variable, and the audience of the token that is put there", name)
		}
	}
}

// checkTimes refuses estimates that are none.
func (c Config) checkTimes(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(c.CI.Times)) {
		if d := time.Duration(c.CI.Times[name]); d <= 0 || d > 30*24*time.Hour {
			_, at := yamlstrict.Find(data, "ci", "times", name)
			fail(at, "%s takes %s: want more than nothing, and at most 30d", name, d)
		}
	}
	if d := time.Duration(c.CI.JobTime); d < 0 || d > 24*time.Hour {
		_, at := yamlstrict.Find(data, "ci", "job_time")
		fail(at, "job_time is %s, want 0 to 24h: packages that take no longer together share a job", d)
	}
}

// times are the configured estimates.
func (c Config) times() pipeline.Times {
	t := pipeline.Times{Packages: map[string]time.Duration{}}
	for name, d := range c.CI.Times {
		t.Packages[name] = time.Duration(d)
	}
	return t
}
