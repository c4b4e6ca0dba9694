package pipeline

import (
	"fmt"
	"strings"
)

// A scope is for whom the jobs of a workflow run, and what their variables are.
type scope struct {
	branch bool // a pull request

	plan, build, index, send, sif map[string]string
}

// releaseWorkflow builds and publishes what the default branch defines, or one container by hand.
func (h GitHub) releaseWorkflow() workflow {
	s := scope{
		plan:  with(secretVariables(h.Mirror, h.Registry, h.planSIFs()), h.token()),
		build: with(secretVariables(h.Mirror, h.Registry, h.Build), h.token()),
		index: secretVariables(h.Mirror),
		send:  with(secretVariables(h.Registry, h.Keys), h.token()),
		sif:   secretVariables(h.SIFs),
	}
	w := workflow{
		Name: "containers",
		On: map[string]any{
			"push": map[string]any{"branches": []string{h.defaultBranch()}},
			"workflow_dispatch": map[string]any{"inputs": map[string]any{
				"container": map[string]any{"description": "build this container only (a definition's name, or its first package's)", "type": "string", "required": false},
				"force":     map[string]any{"description": "also what is up to date", "type": "boolean", "default": false},
			}},
		},
		Permissions: map[string]string{},
		Concurrency: &concurrency{Group: "containers-${{ github.ref }}"},
		Env:         h.Variables,
	}
	plan := h.planJob(s)
	plan.Steps = append(plan.Steps, step{ID: "plan", Name: "Plan", Run: h.call(`ci:github --outputs="$GITHUB_OUTPUT" ${CONTAINER:+--container="$CONTAINER"} ${FORCE:+--force}`),
		Env: map[string]string{"CONTAINER": "${{ inputs.container }}", "FORCE": "${{ inputs.force && 'true' || '' }}"}})
	w.Jobs = append(w.Jobs, plan)
	before := []string{"plan"}
	if h.Bases {
		w.Jobs = append(w.Jobs, h.baseJob(s))
		before = append(before, "bases")
	}
	w.Jobs, before = h.building(w.Jobs, s, before)
	w.Jobs = append(w.Jobs, h.indexJob(s, before, h.call("janitor:reindex")))
	w.Jobs = h.publishing(w.Jobs, s)
	return w
}

// pullWorkflow builds what a pull request changes. Its jobs run what its author wrote, so they get
// no credentials but those of branches; GitHub hands none of them to one from a fork.
func (h GitHub) pullWorkflow() workflow {
	branch := secretVariables(h.Branch)
	s := scope{branch: true, plan: branch, build: branch, index: branch, send: branch}
	w := workflow{
		Name:        "pull request",
		On:          map[string]any{"pull_request": map[string]any{}},
		Permissions: map[string]string{},
		Concurrency: &concurrency{Group: "pull-request-${{ github.event.pull_request.number }}", Cancel: true},
		Env:         h.Variables,
	}
	plan := h.planJob(s)
	plan.Steps = append(plan.Steps,
		step{Name: "Are the definitions valid?", Run: h.call("containers:check")},
		step{Name: "Are the workflows those of the configuration?", Run: h.call("ci:github --check")},
		step{ID: "plan", Name: "Plan", Run: h.call(`ci:github --outputs="$GITHUB_OUTPUT"`)})
	w.Jobs = append(w.Jobs, plan)
	w.Jobs, _ = h.building(w.Jobs, s, []string{"plan"})
	if h.Branches.Mirror != "" {
		var before []string
		for _, j := range w.Jobs {
			before = append(before, j.id)
		}
		w.Jobs = append(w.Jobs, h.indexJob(s, before, h.call("janitor:reindex --mirror=")+shellQuoted(h.Branches.Mirror)))
	}
	if h.Branches.Publish {
		for i := range h.chunks() {
			w.Jobs = append(w.Jobs, h.publishJob(s, i+1, ""))
		}
	}
	return w
}

// planSIFs are the secrets with which a plan looks for the SIFs of definition files, where there are
// any.
func (h GitHub) planSIFs() []string {
	if len(h.SIFOnly) == 0 {
		return nil
	}
	return h.SIFs
}

// call is a step's line that calls a target.
func (h GitHub) call(target string) string { return h.command() + " " + target }

// own is true for a pull request that is not from a fork: those get no secrets at all.
const own = "github.event.pull_request.head.repo.full_name == github.repository"

// permissions of a job: a pull request's reads the repository and nothing else.
func (h GitHub) permissions(s scope, writes bool) map[string]string {
	switch {
	case s.branch:
		return map[string]string{"contents": "read"}
	case writes:
		return h.writes()
	}
	return h.reads()
}

// planJob says what is to be built. Its outputs are the matrices of the other jobs.
func (h GitHub) planJob(s scope) workflowJob {
	outputs := map[string]string{}
	output := func(name string) { outputs[name] = "${{ steps.plan.outputs." + name + " }}" }
	for i := range h.waves() {
		output(fmt.Sprintf("packages-%d", i+1))
	}
	for i := range h.chunks() {
		for _, name := range []string{"containers", "publish", "sifs"} {
			output(fmt.Sprintf("%s-%d", name, i+1))
		}
	}
	output("bases")
	output("index")
	return workflowJob{id: "plan", Name: "plan", RunsOn: h.runsOn("plan"), Permissions: h.permissions(s, false), Timeout: 30,
		Outputs: outputs, Env: s.plan, Steps: h.begin(!s.branch)}
}

// matrixJob is a job for each leg that an output of the plan lists. It runs though another job
// failed: what needs that fails by itself, and everything else is built.
func (h GitHub) matrixJob(id, name, output string, needs []string) workflowJob {
	return workflowJob{id: id, Name: name + " ${{ matrix.name }}", Needs: needs, RunsOn: matrixRunsOn, Timeout: h.timeout(),
		If:       "${{ !cancelled() && needs.plan.result == 'success' && needs.plan.outputs." + output + " != '' }}",
		Strategy: &strategy{Matrix: "${{ fromJSON(needs.plan.outputs." + output + " || '{}') }}"}}
}

// onlyOwn leaves a job out where a pull request is from a fork.
func onlyOwn(condition string) string {
	return strings.Replace(condition, "${{ ", "${{ "+own+" && ", 1)
}

func (h GitHub) baseJob(s scope) workflowJob {
	j := h.matrixJob("bases", "base images", "bases", []string{"plan"})
	j.Permissions, j.Env = h.permissions(s, true), s.send
	key, sign := "", ""
	if h.Sign {
		key, sign = signingKey, ` --sign="$RUNNER_TEMP/cosign.key"`
	}
	j.Steps = append(h.begin(true), h.emulate(), step{Name: "Build and publish", Env: legEnv("BASE", "PLATFORM"), Run: key + `for name in ${BASE//,/ }; do
  ` + h.call(`publish:base "$name" --platform="$PLATFORM"`) + sign + `
done
`})
	return j
}

// legEnv hands values of a leg to a shell as variables, which it takes for nothing but values.
func legEnv(names ...string) map[string]string {
	env := map[string]string{}
	for _, name := range names {
		env[name] = "${{ matrix." + strings.ToLower(name) + " }}"
	}
	return env
}

// building adds the jobs that build packages and containers, and returns what the next ones need.
func (h GitHub) building(all workflowJobs, s scope, before []string) (workflowJobs, []string) {
	takesPackages := !s.branch || h.Branches.Mirror != ""
	for i := 1; i <= h.waves() && takesPackages; i++ {
		id := fmt.Sprintf("packages-%d", i)
		j := h.matrixJob(id, "packages", id, before)
		if s.branch {
			j.If = onlyOwn(j.If)
		}
		j.Permissions, j.Env = h.permissions(s, false), s.build
		j.Steps = append(h.begin(!s.branch), h.emulate(),
			step{Name: "Build", Env: legEnv("CONTAINER", "HASHES", "PLATFORM"), Run: h.call(`ci:package "$HASHES" --container="$CONTAINER" --platform="$PLATFORM"`)}, logs("packages"))
		all, before = append(all, j), append(before[:len(before):len(before)], id)
	}
	packages := before
	for i := 1; i <= h.chunks(); i++ {
		id := fmt.Sprintf("containers-%d", i)
		j := h.matrixJob(id, "container", id, packages)
		j.Permissions, j.Env = h.permissions(s, false), s.build
		j.Steps = append(h.begin(!s.branch), h.emulate(),
			step{Name: "Build", Env: legEnv("CONTAINER", "PLATFORM"), Run: h.call(`containers:build "$CONTAINER" --platform="$PLATFORM"`)}, logs("container"))
		if h.handsOver(s) {
			j.Steps = append(j.Steps, step{Name: "Hand over", Uses: uploadAction, With: map[string]any{
				"name": "image@${{ matrix.container }}@" + dashedPlatform, "path": "out/images/${{ matrix.container }}", "if-no-files-found": "error",
				"retention-days": 1, "compression-level": 0, "overwrite": true}})
		}
		all, before = append(all, j), append(before[:len(before):len(before)], id)
	}
	return all, before
}

// dashedPlatform is the platform in a name.
const dashedPlatform = "${{ matrix.platform == 'linux/arm64' && 'linux-arm64' || 'linux-amd64' }}"

// handsOver reports whether another job takes the images.
func (h GitHub) handsOver(s scope) bool {
	if s.branch {
		return h.Branches.Publish
	}
	return h.Publish || h.SIF
}

// logs keeps what builds said, where one failed.
func logs(what string) step {
	return step{Name: "Logs", If: "failure()", Uses: uploadAction, With: map[string]any{
		"name": "logs@" + what + "@${{ strategy.job-index }}@" + dashedPlatform, "path": "out/cache/build/**/*.log", "if-no-files-found": "ignore", "retention-days": 14}}
}

// indexJob writes the index of the build cache, once all packages are there that will come.
func (h GitHub) indexJob(s scope, before []string, run string) workflowJob {
	condition := "${{ !cancelled() && needs.plan.outputs.index == 'true' }}"
	if s.branch {
		condition = onlyOwn(condition)
	}
	return workflowJob{id: "index", Name: "index of the build cache", Needs: before, If: condition, RunsOn: h.runsOn("index"), Permissions: h.permissions(s, false),
		Timeout: 120, Env: s.index, Steps: append(h.begin(!s.branch), step{Name: "Write it", Run: run})}
}

// publishing adds the jobs that publish containers, make SIFs, and promote.
func (h GitHub) publishing(all workflowJobs, s scope) workflowJobs {
	first := ""
	if len(h.Environments) > 0 {
		first = h.Environments[0]
	}
	for i := 1; i <= h.chunks() && h.Publish; i++ {
		all = append(all, h.publishJob(s, i, first))
	}
	for i := 1; i <= h.chunks() && h.SIF; i++ {
		all = append(all, h.sifJob(s, i))
	}
	if !h.Publish {
		return all
	}
	return h.promoting(all, s)
}

func (h GitHub) containerJobs() (ids []string) {
	for i := range h.chunks() {
		ids = append(ids, fmt.Sprintf("containers-%d", i+1))
	}
	return ids
}

// take fetches the images of a container for all platforms.
func take() step {
	return step{Name: "Take over", Uses: downloadAction, With: map[string]any{
		"pattern": "image@${{ matrix.container }}@*", "path": "out/images/${{ matrix.container }}", "merge-multiple": true}}
}

// publishJob publishes a container for all its platforms under one index.
func (h GitHub) publishJob(s scope, chunk int, environment string) workflowJob {
	id := fmt.Sprintf("publish-%d", chunk)
	j := h.matrixJob(id, "publish", id, append([]string{"plan"}, h.containerJobs()...))
	j.RunsOn = h.runsOn("publish-${{ strategy.job-index }}")
	target := `publish:container "$CONTAINER"`
	if environment != "" {
		target += " --environment=" + environment
		j.Environment = environment
	}
	j.Permissions, j.Env, j.Timeout = h.permissions(s, true), s.send, 120
	j.Steps = append(h.begin(!s.branch), take())
	run := h.call(target)
	if s.branch {
		j.If = onlyOwn(j.If)
	} else if h.Sign {
		run = signingKey + run + ` --sign="$RUNNER_TEMP/cosign.key"` + "\n"
	}
	j.Steps = append(j.Steps, step{Name: "Publish", Env: legEnv("CONTAINER"), Run: run})
	if len(h.Environments) > 1 && !s.branch {
		j.Steps = append(j.Steps, done(id)...)
	}
	return j
}

// signingKey puts the key that signs images into a file that goes with the step.
const signingKey = `umask 077
trap 'rm -f "$RUNNER_TEMP/cosign.key"' EXIT
printf '%s\n' "$COSIGN_PRIVATE_KEY" >"$RUNNER_TEMP/cosign.key"
`

func (h GitHub) sifJob(s scope, chunk int) workflowJob {
	id := fmt.Sprintf("sifs-%d", chunk)
	j := h.matrixJob(id, "SIF", id, append([]string{"plan"}, h.containerJobs()...))
	j.Permissions, j.Env, j.Timeout = h.permissions(s, false), s.sif, 240
	image := take()
	image.If = "matrix.file == ''"
	j.Steps = append(h.begin(true), image,
		step{Name: "Make", Env: legEnv("CONTAINER", "PLATFORM"), Run: h.call(`sif:build "$CONTAINER" --platform="$PLATFORM"`)},
		step{Name: "Upload", Env: legEnv("CONTAINER", "PLATFORM"), Run: h.call(`sif:upload "$CONTAINER" --platform="$PLATFORM"`)})
	return j
}

// dryRun says whether the janitor only says what would go: who starts it by hand chooses, what is
// scheduled prunes where the configuration says so.
func (h GitHub) dryRun() string {
	if h.Prune {
		return "${{ inputs.dry-run && 'true' || '' }}"
	}
	return "${{ (github.event_name == 'schedule' || inputs.dry-run) && 'true' || '' }}"
}

// janitorWorkflow cleans the build caches.
func (h GitHub) janitorWorkflow() workflow {
	schedule := h.Schedule
	if schedule == "" {
		schedule = "17 3 * * 1"
	}
	j := workflowJob{id: "janitor", Name: "janitor", RunsOn: h.runsOn("janitor"), Permissions: h.permissions(scope{}, false), Timeout: h.timeout(),
		Env: with(secretVariables(h.Mirror, h.Registry), h.token()), Steps: h.begin(true)}
	keep := step{Name: "Keep the report", If: "always()", Uses: uploadAction, With: map[string]any{"name": "janitor", "path": "out/janitor", "retention-days": 90}}
	j.Steps = append(j.Steps,
		step{Name: "Report", Run: "mkdir -p out/janitor\n" + h.call("janitor:report --metrics=out/janitor/report.prom --html=out/janitor/report.html --json >out/janitor/report.json") + "\n"},
		step{Name: "Prune", Env: map[string]string{"DRY": h.dryRun()}, Run: h.call("janitor:prune --yes ${DRY:+--dry-run} --metrics=out/janitor/prune.prom")}, keep)
	return workflow{
		Name: "janitor",
		On: map[string]any{
			"schedule": []any{map[string]string{"cron": schedule}},
			"workflow_dispatch": map[string]any{"inputs": map[string]any{
				"dry-run": map[string]any{"description": "only say what would go", "type": "boolean", "default": true},
			}},
		},
		Permissions: map[string]string{},
		Concurrency: &concurrency{Group: "janitor"},
		Env:         h.Variables,
		Jobs:        workflowJobs{j},
	}
}

// shellQuoted is a word of a shell.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
