package targets

// CI says how building is spread over machines by an engine that exists.
type CI struct {
	Times   map[string]Duration `yaml:"times"`    // how long packages take to build, by name, where the estimates are wrong
	JobTime Duration            `yaml:"job_time"` // packages that take no longer together share a job (default: 30m)
	GitLab  GitLabPipelines     `yaml:"gitlab"`
}
