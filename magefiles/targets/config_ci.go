package targets

// CI says how building is spread over machines by an engine that exists.
type CI struct {
	Times   map[string]Duration `yaml:"times"`    // how long packages take to build, by name, where the estimates are wrong
	JobTime Duration            `yaml:"job_time"` // packages that take no longer together share a job (default: 30m)
	Tool    *PipelineTool       `yaml:"tool"`     // the program for GitHub's jobs (default: go run magefile.go, from the checkout)
	Bases   bool                `yaml:"bases"`    // pipelines of releases publish base images, which all jobs take then
	Prune   bool                `yaml:"prune"`    // the scheduled janitor prunes (default: it says what would go)
	GitHub  GitHubPipelines     `yaml:"github"`
	GitLab  GitLabPipelines     `yaml:"gitlab"`
}
