package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// GitHub says how the workflows of GitHub Actions are written. They are the same on every day: what
// is to be built a job of theirs plans, and hands to the others as matrices.
type GitHub struct {
	Command  string              // how jobs call a target; empty: go run magefile.go
	Image    string              // in which every job runs, with rights over its runner, as podman wants them; empty: on the runner itself
	Tool     *Tool               // the program itself, to be downloaded; nil: Command is there already
	Runners  map[string][]string // labels by platform; empty: GitHub's own for it
	Setup    []string            // lines of shell that every job begins with
	Timeout  int                 // of a job that builds, in minutes; 0: six hours, the most that GitHub's runners have
	Waves    int                 // of packages before the containers; 0: three
	Schedule string              // of the janitor, as cron has it; empty: Mondays, and not on the hour
	Caches   bool                // there are build caches, for the janitor
	Prune    bool                // the scheduled janitor prunes; otherwise it says what would go
	Default  string              // the branch whose runs make releases; empty: main

	Containers   map[string][]string // the platforms of each container that is defined
	SIFOnly      map[string][]string // the platforms of each Apptainer definition file, of which only SIFs are made
	Environments []string            // in the order in which containers are promoted; empty: published to all registries at once
	Publish      bool                // there are registries
	SIF          bool                // there is a place for SIFs
	Bases        bool                // base images are published
	Sign         bool                // what is published is signed
	Branches     Branches

	Packages  bool // GitHub's own registry is read and written with the job's own token
	AWSRole   string
	AWSRegion string

	Variables map[string]string // of all workflowJobs, such as HTTPS_PROXY

	// Names of secrets, which become variables of the same name in those jobs alone that take them.
	Mirror   []string // of build caches
	Registry []string // of registries
	Build    []string // of those that build and push packages of releases
	Keys     []string // that sign what is published
	SIFs     []string // of the place for SIFs
	Branch   []string // of all that a pull request's jobs do, and nothing else
}

// Branches say what pull requests may do beside building.
type Branches struct {
	Mirror  string // their build cache, which takes their packages; empty: none
	Publish bool   // they have a registry
}

// A Tool is the program as a file for each architecture.
type Tool struct {
	URL    string            // {arch} stands for amd64 or arm64
	SHA256 map[string]string // by architecture
}

func (h GitHub) command() string {
	switch {
	case h.Tool != nil:
		return "./.spacktainers/spacktainers"
	case h.Command != "":
		return h.Command
	}
	return "go run magefile.go"
}

func (h GitHub) waves() int {
	if h.Waves == 0 {
		return 3
	}
	return h.Waves
}

func (h GitHub) timeout() int {
	if h.Timeout == 0 {
		return 360
	}
	return h.Timeout
}

func (h GitHub) defaultBranch() string {
	if h.Default == "" {
		return "main"
	}
	return h.Default
}

// chunks is how many matrices the containers take, for all platforms of all that are defined.
func (h GitHub) chunks() int {
	legs := 0
	for _, all := range []map[string][]string{h.Containers, h.SIFOnly} {
		for _, platforms := range all {
			legs += len(platforms)
		}
	}
	return max(1, (legs+maxLegs-1)/maxLegs)
}

// hosted are GitHub's own runners.
var hosted = map[string][]string{"linux/amd64": {"ubuntu-24.04"}, "linux/arm64": {"ubuntu-24.04-arm"}}

const codeBuild = "codebuild-"

// labels are those of a job for a platform. AWS CodeBuild starts a runner for each job, by the run
// that its label names; of several jobs in one run each needs a label that no other one has, or
// they would take each other's runners.
func (h GitHub) labels(platform, unique string) []string {
	labels := h.Runners[platform]
	if len(labels) == 0 {
		labels = hosted[platform]
	}
	labels = slices.Clone(labels)
	for i, l := range labels {
		if strings.HasPrefix(l, codeBuild) {
			labels[i] = l + "-{0}-{1}"
			labels = append(labels, "job:"+unique)
			break
		}
	}
	return labels
}

// runner is what a leg says of its runner.
func (h GitHub) runner(platform, unique string) string {
	text, err := json.Marshal(h.labels(platform, unique+"-"+strings.ReplaceAll(platform, "/", "-")))
	if err != nil {
		panic(err) // text is always JSON
	}
	return string(text)
}

// runsOn is the runner of a job that is not one of a matrix.
func (h GitHub) runsOn(id string) any {
	labels := h.labels("linux/amd64", id)
	for i, l := range labels {
		labels[i] = strings.NewReplacer("{0}", "${{ github.run_id }}", "{1}", "${{ github.run_attempt }}").Replace(l)
	}
	if len(labels) == 1 {
		return labels[0]
	}
	return labels
}

// matrixRunsOn is the runner of a leg.
const matrixRunsOn = "${{ fromJSON(format(matrix.runner, github.run_id, github.run_attempt)) }}"

// Files writes the workflows, by the name of their file.
func (h GitHub) Files() (map[string][]byte, error) {
	workflows := map[string]workflow{
		"containers.yml":   h.releaseWorkflow(),
		"pull-request.yml": h.pullWorkflow(),
	}
	if h.Caches {
		workflows["janitor.yml"] = h.janitorWorkflow()
	}
	files := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(workflows)) {
		if h.Image != "" {
			for i := range workflows[name].Jobs {
				workflows[name].Jobs[i].Container = &jobContainer{Image: h.Image, Options: "--privileged"} // podman mounts
			}
		}
		text, err := workflows[name].text(name)
		if err == nil {
			err = checkSecrets(name, text)
		}
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return files, nil
}

// secretVariables are variables that have the secrets of their names.
func secretVariables(names ...[]string) map[string]string {
	env := map[string]string{}
	for _, name := range slices.Concat(names...) {
		env[name] = "${{ secrets." + name + " }}"
	}
	return env
}

// with adds variables to others.
func with(env map[string]string, more map[string]string) map[string]string {
	all := maps.Clone(env)
	maps.Copy(all, more)
	return all
}

// token gives a job the login to GitHub's own registry that it has by itself.
func (h GitHub) token() map[string]string {
	if !h.Packages {
		return nil
	}
	return map[string]string{"GHCR_USER": "${{ github.actor }}", "GHCR_TOKEN": "${{ github.token }}"}
}

// reads are the permissions of a job that sends nothing to GitHub.
func (h GitHub) reads() map[string]string {
	p := map[string]string{"contents": "read"}
	if h.Packages {
		p["packages"] = "read"
	}
	if h.AWSRole != "" {
		p["id-token"] = "write" // who this is, for AWS
	}
	return p
}

func (h GitHub) writes() map[string]string {
	p := h.reads()
	if h.Packages {
		p["packages"] = "write"
	}
	return p
}

// begin are the steps with which every job begins.
func (h GitHub) begin(withAWS bool) []step {
	steps := []step{{Uses: checkoutAction, With: map[string]any{"persist-credentials": false}}}
	if h.Tool != nil {
		steps = append(steps, h.download())
	}
	if len(h.Setup) > 0 {
		steps = append(steps, step{Name: "Set up", Run: strings.Join(h.Setup, "\n") + "\n"})
	}
	if withAWS && h.AWSRole != "" {
		steps = append(steps, step{Name: "Credentials of AWS", Uses: awsAction, With: map[string]any{
			"role-to-assume": h.AWSRole, "aws-region": h.AWSRegion, "role-duration-seconds": 3600}})
	}
	return steps
}

// download fetches the program, and believes no bytes but those that are configured.
func (h GitHub) download() step {
	var cases strings.Builder
	for _, pair := range [][2]string{{"X64", "amd64"}, {"ARM64", "arm64"}} {
		if sum := h.Tool.SHA256[pair[1]]; sum != "" {
			fmt.Fprintf(&cases, "  %s) arch=%s sum=%s ;;\n", pair[0], pair[1], sum)
		}
	}
	return step{Name: "The program", Env: map[string]string{"URL": h.Tool.URL}, Run: `case "$RUNNER_ARCH" in
` + cases.String() + `  *) echo "no program for $RUNNER_ARCH: name its checksum under ci: tool" >&2; exit 1 ;;
esac
mkdir -p .spacktainers
curl --fail --silent --show-error --location --output .spacktainers/spacktainers "${URL//\{arch\}/$arch}"
echo "$sum  .spacktainers/spacktainers" | sha256sum --check --quiet
chmod +x .spacktainers/spacktainers
`}
}

// emulate lets a runner build for a platform that it is not.
func (h GitHub) emulate() step {
	install := "sudo apt-get update\nsudo apt-get install --yes --no-install-recommends qemu-user-static\n"
	if h.Image != "" { // in which no service registers what was installed
		install = strings.ReplaceAll(install, "sudo ", "") + `handlers=/proc/sys/fs/binfmt_misc
[ -e $handlers/register ] || mount -t binfmt_misc binfmt_misc $handlers
[ -e $handlers/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >$handlers/register
`
	}
	return step{Name: "Emulation", If: "matrix.platform == 'linux/arm64' && runner.arch == 'X64'", Run: install}
}
