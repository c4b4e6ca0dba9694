package targets

import (
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// CI says how building is spread over machines by an engine that exists.
type CI struct {
	Times   map[string]Duration `yaml:"times"`    // how long packages take to build, by name, where the estimates are wrong
	JobTime Duration            `yaml:"job_time"` // packages that take no longer together share a job (default: 30m)
	Image   string              `yaml:"image"`    // in which all jobs run: what publish:base tool has sent, by digest
	Tool    *PipelineTool       `yaml:"tool"`     // the program for GitHub's jobs, where there is no image (default: go run magefile.go, from the checkout)
	Bases   bool                `yaml:"bases"`    // pipelines of releases publish base images, which all jobs take then
	Prune   bool                `yaml:"prune"`    // the scheduled janitor prunes (default: it says what would go)
	GitHub  GitHubPipelines     `yaml:"github"`
	GitLab  GitLabPipelines     `yaml:"gitlab"`
}

// command is what a job calls a target with where nothing else is said.
func (c CI) command() string {
	if c.Image != "" {
		return programName
	}
	return "go run magefile.go"
}

var pinnedImage = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$`)

// checkImage refuses an image whose bytes may change, since jobs have credentials.
func (c CI) checkImage(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	if c.Image == "" {
		return
	}
	_, at := yamlstrict.Find(data, "ci", "image")
	switch {
	case !pinnedImage.MatchString(c.Image):
		fail(at, "%q does not say which bytes: want registry.example.org/tool@sha256:…, whose digest publish:base tool shows", c.Image)
	case c.Tool != nil:
		fail(at, "image has the program: leave out tool")
	}
}
