package targets

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/atomicfile"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/pipeline"
)

// workflows is where GitHub looks for workflows.
const workflows = ".github/workflows"

// Github writes the workflows of GitHub Actions: one that plans, builds and
// publishes, one for pull requests, and one for the janitor. They depend on
// spacktainers.yaml and on how many containers are defined, and are committed. With
// --outputs it is what their first job calls: it plans, and writes the matrices of
// the others.
func (Ci) Github(ctx context.Context,
	out *string, // folder for the workflows (default: .github/workflows)
	check *bool, // write nothing: fail where the workflows there are others than would be written
	outputs *string, // in a job: append the plan's matrices to this file, the one that GITHUB_OUTPUT names
	container *string, // with --outputs: plan this container only
	registry *string, // with --outputs: prefix to ask what is there (default: the first configured one; none: ask no registry)
	force *bool, // with --outputs: also what is up to date
	release *bool, // with --outputs, at a shell: as for a release (CI: on the protected default branch)
) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	github, err := a.github()
	if err != nil {
		return err
	}
	switch {
	case outputs != nil && (out != nil || or(check, false)):
		return wrongCall("--outputs plans, and writes no workflows: leave --out and --check out")
	case outputs != nil:
		return a.githubOutputs(ctx, github, *outputs, planOptions{name: container, registry: registry, force: or(force, false), release: release})
	case container != nil || registry != nil || force != nil || release != nil:
		return wrongCall("--container, --registry, --force and --release are for --outputs: the workflows are the same for all")
	}
	files, err := github.Files()
	if err != nil {
		return err
	}
	dir := or(out, workflows)
	if or(check, false) {
		return checkFiles(dir, files, "mage ci:github")
	}
	return a.writeFiles(dir, files)
}

// githubOutputs plans, and hands the plan to the other jobs of a workflow.
func (a *app) githubOutputs(ctx context.Context, github pipeline.GitHub, path string, o planOptions) error {
	o.diff = a.Summary != ""
	graph, err := a.plan(ctx, o)
	if err != nil {
		return err
	}
	pushed, _, err := a.pushable(ctx, graph, o)
	if err != nil {
		return err
	}
	outputs, err := github.Outputs(pushed)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("--outputs: %w", err)
	}
	if err := errors.Join(pipeline.WriteOutputs(file, outputs), file.Close()); err != nil {
		return fmt.Errorf("--outputs: %w", err)
	}
	return a.showGraph(graph)
}

// writeFiles puts files into a folder. What is there already is not written again.
func (a *app) writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, files[name]) {
			continue
		}
		if err := atomicfile.Write(path, files[name], 0o644); err != nil {
			return err
		}
		if err := a.Print("%s", path); err != nil {
			return err
		}
	}
	return nil
}

// checkFiles says which files of a folder are not what they are to be.
func checkFiles(dir string, files map[string][]byte, writes string) error {
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		old, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			wrong = append(wrong, name+" is missing")
		case err != nil:
			return err
		case !bytes.Equal(old, files[name]):
			wrong = append(wrong, name+" is another one")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s does not fit the configuration any more: %s: write it anew by %s", dir, strings.Join(wrong, ", "), writes)
}

// github describes the workflows.
func (a *app) github() (pipeline.GitHub, error) {
	p := a.config.CI
	platforms, err := definedPlatforms(definition.Environment)
	if err != nil {
		return pipeline.GitHub{}, err
	}
	g := pipeline.GitHub{
		Command: cmp.Or(p.GitHub.Command, p.command()), Image: p.Image, Bases: p.Bases, Runners: p.GitHub.Runners, Setup: p.GitHub.Setup, Timeout: int(time.Duration(p.GitHub.Timeout) / time.Minute), Waves: p.GitHub.Waves,
		Schedule: p.GitHub.Schedule, Caches: a.config.caches(), Prune: p.Prune, Default: p.GitHub.DefaultBranch, Containers: platforms, Environments: p.GitHub.Environments,
		Publish: len(a.config.Registries) > 0, SIF: a.config.SIFs != "", Sign: a.config.ImageKey != "",
		Branches: pipeline.Branches{Mirror: a.config.Branches.Mirror, Publish: a.config.Branches.Registry != ""},
		AWSRole:  p.GitHub.AWSRole, AWSRegion: p.GitHub.AWSRegion, Variables: p.GitHub.Variables,
	}
	if g.SIF {
		if g.SIFOnly, err = definedPlatforms(definition.Apptainer); err != nil {
			return g, err
		}
	}
	if p.Tool != nil {
		g.Tool = &pipeline.Tool{URL: p.Tool.URL, SHA256: p.Tool.SHA256}
	}
	for _, name := range p.GitHub.Environments {
		if err := a.checkEnvironment(name); err != nil {
			return g, err
		}
	}
	a.githubSecrets(&g)
	return g, nil
}

// githubSecrets names the secrets that jobs get, which are the variables that the targets read. A
// pull request gets those of branches alone.
func (a *app) githubSecrets(g *pipeline.GitHub) {
	mirror, registries, build, keys, sifs, branch := variableNames{}, variableNames{}, variableNames{}, variableNames{}, variableNames{}, variableNames{}
	for _, p := range a.config.Platforms {
		if at, err := buildcache.ParseLocation(p.Mirror, ""); err == nil && at.IsBucket() && !p.Anonymous {
			mirror.keys(cmp.Or(p.Credentials, defaultCredentials))
		}
	}
	mirror[publicKeyVariable+"_CONTENT"] = true
	build[privateKeyVariable+"_CONTENT"] = true
	if len(a.config.Spack.Private) > 0 {
		build[gitVariable+"_CONTENT"] = true
	}
	for _, r := range a.config.Registries {
		switch host := r.host(); {
		case r.Credentials != "":
			registries.login(r.Credentials, host)
		case host == "ghcr.io":
			g.Packages = true
		case host == "docker.io" || host == "index.docker.io":
			registries["DOCKERHUB_USER"], registries["DOCKERHUB_PASSWORD"] = true, true
		}
	}
	if g.Sign {
		keys["COSIGN_PRIVATE_KEY"], keys["COSIGN_PASSWORD"] = true, true
	}
	if g.SIF {
		sifs.keys("AWS_INFRASTRUCTURE")
	}
	b := a.config.Branches
	if at, err := buildcache.ParseLocation(b.Mirror, ""); err == nil && at.IsBucket() {
		branch.keys(cmp.Or(b.Credentials, defaultCredentials))
	}
	if b.Registry != "" && b.Credentials != "" {
		branch.login(b.Credentials, a.registryAt(b.Registry).Host())
	}
	for _, release := range []variableNames{mirror, registries, build, keys, sifs} {
		for name := range release {
			delete(branch, name) // what releases use a branch never gets
		}
	}
	g.Mirror, g.Registry, g.Build, g.Keys, g.SIFs, g.Branch = mirror.list(), registries.list(), build.list(), keys.list(), sifs.list(), branch.list()
}

// variableNames are those of variables, each once.
type variableNames map[string]bool

func (n variableNames) list() []string { return slices.Sorted(maps.Keys(n)) }

func (n variableNames) keys(name string) {
	n[name+"_ACCESS_KEY_ID"], n[name+"_SECRET_ACCESS_KEY"] = true, true
}

func (n variableNames) login(name, host string) {
	if strings.Contains(host, ".dkr.ecr.") {
		n.keys(name)
		return
	}
	n[name+"_USER"], n[name+"_PASSWORD"] = true, true
}
