package targets

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/suggest"
	"github.com/openbraininstitute/spacktainers/internal/yamlstrict"
)

// A PipelineTool is a file that jobs download and run.
type PipelineTool struct {
	URL    string            `yaml:"url"`    // {arch} stands for amd64 or arm64
	SHA256 map[string]string `yaml:"sha256"` // of the file, by architecture
}

// GitHubPipelines are workflows of GitHub Actions.
type GitHubPipelines struct {
	Command       string              `yaml:"command"`        // what a job calls a target with (default: go run magefile.go, or spacktainers in an image); not beside tool
	Variables     map[string]string   `yaml:"variables"`      // of all jobs, such as HTTPS_PROXY; secrets never stand here
	DefaultBranch string              `yaml:"default_branch"` // whose runs make releases (default: main)
	Runners       map[string][]string `yaml:"runners"`        // labels by platform (default: GitHub's own); codebuild-PROJECT is AWS CodeBuild
	Setup         []string            `yaml:"setup"`          // lines of shell that jobs begin with
	Timeout       Duration            `yaml:"timeout"`        // of a job that builds (default: 6h)
	Waves         int                 `yaml:"waves"`          // of packages before the containers (default: 3)
	Environments  []string            `yaml:"environments"`   // in the order of promotion, such as [sandbox, staging, production]
	Schedule      string              `yaml:"schedule"`       // of the janitor, as cron has it, in UTC
	AWSRole       string              `yaml:"aws_role"`       // ARN of a role that trusts GitHub's tokens
	AWSRegion     string              `yaml:"aws_region"`
}

var (
	checksum        = regexp.MustCompile(`^[0-9a-f]{64}$`)
	roleARN         = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)
	branchName      = regexp.MustCompile(`^[\w][\w./-]*$`)
	cronLine        = regexp.MustCompile(`^[0-9*,/ A-Za-z-]+$`)
	environmentName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	onlyExpression  = regexp.MustCompile(`^\$\{\{[^{}]*\}\}$`)
	runnerLabel     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]*$`)
)

// checkGitHub refuses what GitHub would refuse, or would take for something else.
func (c Config) checkGitHub(data []byte, fail func(at *yaml.Node, format string, args ...any)) {
	wrong := func(format string, value any, keys ...string) {
		_, at := yamlstrict.Find(data, append([]string{"ci"}, keys...)...)
		fail(at, format, value)
	}
	p, g := c.CI, c.CI.GitHub
	if p.Tool != nil {
		if !strings.HasPrefix(p.Tool.URL, "https://") || strings.ContainsAny(p.Tool.URL, "@ \n") {
			wrong("%q: want an https:// address without credentials, in which {arch} stands for amd64 or arm64", p.Tool.URL, "tool", "url")
		}
		for _, arch := range slices.Sorted(maps.Keys(p.Tool.SHA256)) {
			if arch != "amd64" && arch != "arm64" || !checksum.MatchString(p.Tool.SHA256[arch]) {
				wrong("%q: want amd64 and arm64, each with the 64 hexadecimal digits that sha256sum shows", arch, "tool", "sha256")
			}
		}
		if len(p.Tool.SHA256) == 0 {
			wrong("%s: it has no sha256: jobs run no program of which that is not known", "tool", "tool")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.Variables)) {
		switch {
		case !variables.MatchString(strings.ToUpper(name)):
			wrong("%q is no name of a variable", name, "github", "variables")
		case secretName.MatchString(name) && !onlyExpression.MatchString(g.Variables[name]):
			wrong("%s is named like a secret, which stands in GitHub's settings and not here; an expression such as ${{ secrets.NAME }} is taken", name, "github", "variables", name)
		}
	}
	for _, platform := range slices.Sorted(maps.Keys(g.Runners)) {
		if known := slices.Sorted(maps.Keys(defaultConfig().Platforms)); !slices.Contains(known, platform) {
			wrong("unknown platform "+strings.ReplaceAll(platform, "%", "%%")+": %s", suggest.Hint(platform, known), "github", "runners")
		}
		for _, label := range g.Runners[platform] {
			if !runnerLabel.MatchString(label) {
				wrong("%q is no label of a runner", label, "github", "runners", platform)
			}
		}
	}
	if strings.ContainsAny(g.Command, "\r\n\x00") || strings.Contains(g.Command, "${{") {
		wrong("%q: want a line of shell without expressions of GitHub", g.Command, "github", "command")
	}
	check := func(value string, pattern *regexp.Regexp, format, key string) {
		if value != "" && !pattern.MatchString(value) {
			wrong(format, value, "github", key)
		}
	}
	check(g.AWSRole, roleARN, "%q is no role: want arn:aws:iam::ACCOUNT:role/NAME", "aws_role")
	check(g.AWSRegion, environmentName, "%q is no region of AWS", "aws_region")
	check(g.DefaultBranch, branchName, "%q is no name of a branch", "default_branch")
	check(g.Schedule, cronLine, "%q is no line of cron: want minute, hour, day, month and weekday", "schedule")
	if g.AWSRole != "" && g.AWSRegion == "" {
		wrong("%q needs aws_region beside it", g.AWSRole, "github", "aws_role")
	}
	for _, name := range g.Environments {
		check(name, environmentName, "%q is no name of an environment", "environments")
	}
	if t := time.Duration(g.Timeout); t != 0 && (t < time.Minute || t > 5*24*time.Hour) {
		wrong("timeout is %s, want 1m to 5d", t, "github", "timeout")
	}
	if g.Waves < 0 || g.Waves > 20 {
		wrong("waves is %d, want 1 to 20", g.Waves, "github", "waves")
	}
}
