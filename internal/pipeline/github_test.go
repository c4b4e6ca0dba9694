package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rhysd/actionlint"
	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// github is a configuration with everything in it.
func github() GitHub {
	return GitHub{
		Containers:   map[string][]string{"hello": {"linux/amd64", "linux/arm64"}, "server": {"linux/amd64"}},
		Environments: []string{"sandbox", "staging", "production"}, Publish: true, SIF: true, Bases: true, Sign: true,
		Branches: Branches{Mirror: "s3://branches/it's", Publish: true}, Packages: true,
		AWSRole: "arn:aws:iam::123456789012:role/ci", AWSRegion: "us-east-1",
		Tool:      &Tool{URL: "https://example.org/spacktainers-{arch}", SHA256: map[string]string{"amd64": strings.Repeat("a", 64), "arm64": strings.Repeat("b", 64)}},
		Setup:     []string{"sudo apt-get update", "echo 'ready: now'"},
		Variables: map[string]string{"HTTPS_PROXY": "http://proxy:3128"},
		Mirror:    []string{"AWS_CACHE_ACCESS_KEY_ID", "AWS_CACHE_SECRET_ACCESS_KEY"}, Registry: []string{"RELEASES_PASSWORD"},
		Build: []string{"SPACK_DEPLOYMENT_KEY_PRIVATE_CONTENT"}, Keys: []string{"COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD"},
		SIFs: []string{"AWS_INFRASTRUCTURE_ACCESS_KEY_ID"}, Branch: []string{"BRANCHES_ACCESS_KEY_ID"},
	}
}

// lint returns what actionlint has against files.
func lint(t *testing.T, files map[string][]byte) (found []string) {
	t.Helper()
	for name, text := range files {
		linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mistakes, err := linter.Lint(name, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mistakes {
			found = append(found, m.Error())
		}
	}
	return found
}

func TestWorkflowsAreWhatGitHubReads(t *testing.T) {
	for name, change := range map[string]func(*GitHub){
		"everything": func(*GitHub) {},
		"nothing":    func(h *GitHub) { *h = GitHub{} },
		"no SIF":     func(h *GitHub) { h.SIF, h.AWSRole, h.Tool, h.Sign = false, "", nil, false },
		"in an image": func(h *GitHub) {
			h.Tool, h.Command, h.Image = nil, "spacktainers", "ghcr.io/example/tool@sha256:"+strings.Repeat("c", 64)
		},
		"no place": func(h *GitHub) { h.Publish, h.Branches = false, Branches{} },
		"many": func(h *GitHub) {
			for i := range 200 {
				h.Containers[fmt.Sprintf("c%d", i)] = []string{"linux/amd64", "linux/arm64"}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := github()
			change(&h)
			files, err := h.Files()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range lint(t, files) {
				t.Error(m)
			}
		})
	}
	// The linter can find something at all.
	bad := map[string][]byte{"x.yml": []byte("on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    needs: b\n    steps: [{run: echo}]\n")}
	if len(lint(t, bad)) == 0 {
		t.Error("a job that needs one that is not there is right")
	}
}

// Each job of CodeBuild needs a label that no other has.
func TestLabelsOfCodeBuildAreUnique(t *testing.T) {
	h := github()
	h.Runners = map[string][]string{"linux/amd64": {"codebuild-project"}}
	files, err := h.Files()
	if err != nil {
		t.Fatal(err)
	}
	text := string(files["containers.yml"])
	if !strings.Contains(text, "codebuild-project-${{ github.run_id }}-${{ github.run_attempt }}") || !strings.Contains(text, "job:plan") {
		t.Error(text)
	}
	legs := h.containerLegs(graphOf(t, world(rand.New(rand.NewPCG(1, 2)), 40, 40)))
	seen := map[string]bool{}
	for _, l := range legs {
		if seen[l.Runner] {
			t.Errorf("%s twice", l.Runner)
		}
		seen[l.Runner] = l.Platform == "linux/amd64"
	}
	if len(legs) < 10 {
		t.Fatalf("%d jobs", len(legs))
	}
}

func TestActionsArePinnedByCommit(t *testing.T) {
	files, err := github().Files()
	if err != nil {
		t.Fatal(err)
	}
	pinned := regexp.MustCompile(`uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	n := 0
	for name, text := range files {
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "uses:") {
				n++
				if !pinned.MatchString(strings.TrimSpace(line)) {
					t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d actions", n)
	}
}

func TestEveryJobRunsInTheImage(t *testing.T) {
	h := github()
	h.Tool, h.Command, h.Image = nil, "spacktainers", "ghcr.io/example/tool@sha256:"+strings.Repeat("c", 64)
	files, err := h.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		var w struct {
			Jobs map[string]struct {
				Container struct{ Image, Options string }
			}
		}
		if err := yaml.Unmarshal(text, &w); err != nil {
			t.Fatal(err)
		}
		for id, j := range w.Jobs {
			if j.Container.Image != h.Image || j.Container.Options != "--privileged" {
				t.Errorf("%s: %s: %+v", name, id, j.Container)
			}
		}
		if len(w.Jobs) == 0 || strings.Contains(string(text), "go run") {
			t.Errorf("%s: %d jobs\n%s", name, len(w.Jobs), text)
		}
	}
	if text := string(files["containers.yml"]); !strings.Contains(text, ">$handlers/register") {
		t.Error("nothing registers the handler of arm64 programs in the image")
	}
}

// What a pull request runs is what its author wrote.
func TestAPullRequestGetsNoCredentialsButThoseOfBranches(t *testing.T) {
	files, err := github().Files()
	if err != nil {
		t.Fatal(err)
	}
	text := string(files["pull-request.yml"])
	for _, secret := range regexp.MustCompile(`secrets\.(\w+)`).FindAllStringSubmatch(text, -1) {
		if secret[1] != "BRANCHES_ACCESS_KEY_ID" {
			t.Errorf("it gets %s", secret[1])
		}
	}
	for _, never := range []string{"github.token", "GITHUB_TOKEN", "id-token", "pull_request_target", "packages: ", "role-to-assume", "secrets: inherit", "toJSON(secrets", "environment:"} {
		if strings.Contains(text, never) {
			t.Errorf("it has %s", never)
		}
	}
	var w struct {
		Permissions map[string]string `yaml:"permissions"`
		Jobs        map[string]struct {
			Permissions map[string]string `yaml:"permissions"`
			Steps       []struct {
				With map[string]any `yaml:"with"`
				Uses string         `yaml:"uses"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	if err := yaml.Unmarshal(files["pull-request.yml"], &w); err != nil {
		t.Fatal(err)
	}
	for id, j := range w.Jobs {
		if diff := cmp.Diff(map[string]string{"contents": "read"}, j.Permissions); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		if len(j.Steps) == 0 || !strings.HasPrefix(j.Steps[0].Uses, "actions/checkout@") || j.Steps[0].With["persist-credentials"] != false {
			t.Errorf("%s: git's token stays in the checkout: %v", id, j.Steps)
		}
	}
	if len(w.Jobs) < 5 || w.Permissions == nil || len(w.Permissions) > 0 {
		t.Errorf("%d jobs, permissions %v", len(w.Jobs), w.Permissions)
	}
}

// Each job has the credentials that it takes, and no others.
func TestJobsGetOnlyTheirOwnCredentials(t *testing.T) {
	files, err := github().Files()
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Env  map[string]string `yaml:"env"`
		Jobs map[string]struct {
			Env map[string]string `yaml:"env"`
		} `yaml:"jobs"`
	}
	if err := yaml.Unmarshal(files["containers.yml"], &w); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string][]string{
		"SPACK_DEPLOYMENT_KEY_PRIVATE_CONTENT": {"containers-1", "packages-1", "packages-2", "packages-3"},
		"COSIGN_PRIVATE_KEY":                   {"bases", "promote-production-1", "promote-staging-1", "publish-1"},
		"AWS_INFRASTRUCTURE_ACCESS_KEY_ID":     {"sifs-1"},
		"AWS_CACHE_SECRET_ACCESS_KEY":          {"containers-1", "index", "packages-1", "packages-2", "packages-3", "plan"},
	} {
		var got []string
		for id, j := range w.Jobs {
			if j.Env[secret] != "" {
				got = append(got, id)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || w.Env[secret] != "" {
			t.Errorf("%s: %s", secret, diff)
		}
	}
}

// Values that others choose never become a part of a line of shell.
func TestNoExpressionIsInsideOfShell(t *testing.T) {
	files, err := github().Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		var w struct {
			Jobs map[string]struct {
				Steps []struct {
					Run string `yaml:"run"`
				} `yaml:"steps"`
			} `yaml:"jobs"`
		}
		if err := yaml.Unmarshal(text, &w); err != nil {
			t.Fatal(err)
		}
		for id, j := range w.Jobs {
			for _, s := range j.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s: %s: %s", name, id, s.Run)
				}
			}
		}
	}
}

func graphOf(t *testing.T, containers []Container) *Graph {
	t.Helper()
	g, err := New(Request{Containers: containers, Publish: true, SIF: true})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func legsOf(t *testing.T, outputs []Output, prefix string) (all [][]leg) {
	t.Helper()
	for _, o := range outputs {
		if !strings.HasPrefix(o.Name, prefix) {
			continue
		}
		var m struct {
			Include []leg `json:"include"`
		}
		if o.Value != "" {
			if err := json.Unmarshal([]byte(o.Value), &m); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, m.Include)
	}
	return all
}

func TestSharedPackagesAreBuiltOnceAndAfterWhatTheyNeed(t *testing.T) {
	packages, worlds := 0, size.Count(300, 300, 3000)
	for seed := range uint64(worlds) {
		r := rand.New(rand.NewPCG(seed, 7))
		g := graphOf(t, world(r, 5+r.IntN(80), 1+r.IntN(16)))
		h := GitHub{Waves: 1 + r.IntN(5)}
		outputs, err := h.Outputs(g)
		if err != nil {
			t.Fatal(err)
		}
		type place struct{ wave, leg int }
		built := map[string]place{}
		for wave, legs := range legsOf(t, outputs, "packages-") {
			if len(legs) > maxLegs {
				t.Fatalf("seed %d: %d jobs", seed, len(legs))
			}
			for i, l := range legs {
				for _, text := range strings.Split(l.Hashes, ",") {
					id := packageID(l.Platform, buildcache.Hash(text))
					if _, twice := built[id]; twice {
						t.Fatalf("seed %d: %s twice", seed, id)
					}
					built[id] = place{wave, i}
					s, ok := g.Step(id)
					if !ok || !slices.ContainsFunc(s.Containers, func(c string) bool { return slices.Contains(strings.Split(l.Container, ","), c) }) {
						t.Fatalf("seed %d: %s is in no lockfile of %s", seed, id, l.Container)
					}
				}
			}
		}
		for _, s := range g.Of(Package, "") {
			at, ok := built[s.ID]
			if ok != s.Shared() {
				t.Fatalf("seed %d: %s, wanted by %v: built %v", seed, s.ID, s.Containers, ok)
			}
			for _, need := range s.Needs {
				n, shared := built[need]
				if ok && shared && n.wave >= at.wave && n != at {
					t.Fatalf("seed %d: %s in %v, and what it needs, %s, in %v", seed, s.ID, at, need, n)
				}
			}
		}
		packages += len(built)
	}
	if packages < 10*worlds { // 18 a world
		t.Errorf("only %d packages in %d worlds", packages, worlds)
	}
}

func TestFourHundredContainersAreInTwoMatrices(t *testing.T) {
	containers := world(rand.New(rand.NewPCG(3, 3)), 600, 400)
	h := github()
	h.Containers = map[string][]string{}
	for i := range containers {
		containers[i].UpToDate = false
		h.Containers[containers[i].Name] = append(h.Containers[containers[i].Name], containers[i].Platform)
	}
	outputs, err := h.Outputs(graphOf(t, containers))
	if err != nil {
		t.Fatal(err)
	}
	legs := map[string]bool{}
	for _, matrix := range legsOf(t, outputs, "containers-") {
		if len(matrix) > 256 {
			t.Errorf("a matrix has %d jobs", len(matrix))
		}
		for _, l := range matrix {
			legs[l.Container+" "+l.Platform] = true
		}
	}
	files, err := h.Files()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, o := range outputs {
		size += len(o.Value)
	}
	t.Logf("%d jobs, %d bytes of outputs, %d bytes of workflow", len(legs), size, len(files["containers.yml"]))
	if len(legs) != 400 {
		t.Errorf("%d jobs", len(legs))
	}
	for _, o := range outputs {
		if !strings.Contains(string(files["containers.yml"]), "steps.plan.outputs."+o.Name+" }}") {
			t.Errorf("no job of the workflow takes %s", o.Name)
		}
	}
	// One more than the workflows were written for.
	h.Containers = map[string][]string{}
	if _, err := h.Outputs(graphOf(t, containers)); err == nil || !strings.Contains(err.Error(), "write them anew by mage ci:github") {
		t.Errorf("got %v", err)
	}
}

// A container is published for all its platforms under one index, so all are at hand.
func TestAllPlatformsOfAContainerAreBuiltForItsIndex(t *testing.T) {
	containers := world(rand.New(rand.NewPCG(5, 5)), 30, 2)
	containers[0].UpToDate, containers[1].UpToDate = true, false
	h := GitHub{Publish: true, Containers: map[string][]string{"c0": {"linux/amd64", "linux/arm64"}}}
	outputs, err := h.Outputs(graphOf(t, containers))
	if err != nil {
		t.Fatal(err)
	}
	if legs := legsOf(t, outputs, "containers-")[0]; len(legs) != 2 {
		t.Errorf("got %v", legs)
	}
	containers[1].UpToDate = true
	if outputs, err = h.Outputs(graphOf(t, containers)); err != nil {
		t.Fatal(err)
	}
	for _, o := range outputs {
		if o.Value != "" && o.Value != "false" {
			t.Errorf("nothing is to be done, and %s is %s", o.Name, o.Value)
		}
	}
}
