package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"go.yaml.in/yaml/v3"
)

// A run is what GitLab would make of pipelines: for each job, which others are surely done before.
type run struct {
	t      *testing.T
	files  map[string][]byte
	before map[string]map[string]bool
	script map[string]string // of each job
	starts []string          // files of child pipelines
}

// read follows a pipeline: a job with needs waits for those, one without for all earlier stages, and
// one that starts a child for all jobs of that.
func (r *run) read(file string, outside map[string]bool) (all []string) {
	r.t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(r.files[file], &root); err != nil {
		r.t.Fatal(err)
	}
	p := parsePipeline(root.Content[0])
	of := map[string][]string{} // jobs by stage
	end := map[string][]string{}
	slices.SortStableFunc(p.jobs, func(a, b parsedJob) int { return slices.Index(p.stages, a.stage) - slices.Index(p.stages, b.stage) })
	var visit func(j parsedJob)
	byName := map[string]parsedJob{}
	for _, j := range p.jobs {
		byName[j.name] = j
		of[j.stage] = append(of[j.stage], j.name)
	}
	visit = func(j parsedJob) {
		if r.before[j.name] != nil {
			return
		}
		before := maps.Clone(outside)
		r.before[j.name] = before
		wait := j.needs
		if !j.hasNeeds {
			for _, s := range p.stages[:slices.Index(p.stages, j.stage)] {
				wait = append(wait, of[s]...)
			}
		}
		for _, n := range wait {
			visit(byName[n])
			maps.Copy(before, r.before[n])
			before[n] = true
			for _, inner := range end[n] {
				before[inner] = true
			}
		}
		node := get(root.Content[0], j.name)
		if j.trigger {
			child := get2(get(node, "trigger"), "include")
			path := get(child[0], "artifact").Value
			r.starts = append(r.starts, path)
			end[j.name] = r.read(strings.TrimPrefix(path, "out/ci/"), before)
		} else {
			script := get(node, "script")
			if template := get(node, "extends"); script == nil && template != nil {
				script = get(get(root.Content[0], template.Value), "script")
			}
			r.script[j.name] = strings.Join(words(script), "\n")
		}
		all = append(append(all, j.name), end[j.name]...)
	}
	for _, j := range p.jobs {
		visit(j)
	}
	return all
}

func follow(t *testing.T, files map[string][]byte) *run {
	r := &run{t: t, files: files, before: map[string]map[string]bool{}, script: map[string]string{}}
	r.read(pipelineFile, map[string]bool{})
	return r
}

// jobsOf returns the job that does each step of the graph: exactly one.
func (r *run) jobsOf(g *Graph) map[string]string {
	r.t.Helper()
	found := map[string]string{}
	for name, script := range r.script {
		if platform, ok := strings.CutPrefix(name, "index "); ok {
			found[stepID(Index, "linux/"+platform, "mirror")] = name
		}
		for line := range strings.Lines(script) {
			words := strings.Fields(line)
			if len(words) < 3 || words[0] != "mage" {
				continue
			}
			platform := ""
			for _, w := range words {
				if p, ok := strings.CutPrefix(w, "--platform="); ok {
					platform = p
				}
			}
			var ids []string
			switch words[1] {
			case "ci:package":
				for _, h := range strings.Split(words[2], ",") {
					ids = append(ids, packageID(platform, buildcache.Hash(h)))
				}
			case "containers:build":
				ids = append(ids, stepID(Image, platform, words[2]))
			case "publish:container":
				ids = append(ids, stepID(Publication, "", words[2]))
			case "sif:build":
				ids = append(ids, stepID(SIF, platform, words[2]))
			case "publish:base":
				ids = append(ids, stepID(BaseImage, platform, words[2]))
			}
			for _, id := range ids {
				if old, twice := found[id]; twice {
					r.t.Fatalf("%s is done by %q and %q", id, old, name)
				}
				found[id] = name
			}
		}
	}
	return found
}

func TestPipelinesDoEachStepOnceAndInOrderWhateverTheLimits(t *testing.T) {
	split, stages := 0, 0
	for seed := range uint64(size.Count(40, 400, 2000)) {
		r := rand.New(rand.NewPCG(seed, 2))
		g, err := New(Request{Containers: world(r, 5+r.IntN(150), 1+r.IntN(16)), Publish: true, SIF: r.IntN(2) == 0,
			Bases: []Base{{Name: "builder", Platform: "linux/amd64", For: []Kind{Package, Image}}}})
		if err != nil {
			t.Fatal(err)
		}
		c := GitLab{Command: "mage", Dir: "out/ci", Share: time.Duration(1+r.IntN(20)) * time.Minute,
			Limits: GitLabLimits{Jobs: 9 + r.IntN(60), Needs: 1 + r.IntN(6), Bytes: 20000 + r.IntN(60000)}}
		files, err := c.Files(g)
		var limit *LimitError
		if errors.As(err, &limit) {
			continue // so small that one container's jobs do not fit
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if errs := CheckGitLab(files, c.Limits); errs != nil {
			t.Fatalf("seed %d: %v", seed, errs)
		}
		run := follow(t, files)
		if len(run.starts) > 0 {
			split++
		}
		if strings.Count(string(files[pipelineFile]), "needs:") < len(run.before) {
			stages++
		}
		jobs := run.jobsOf(g)
		for _, s := range g.Steps {
			if jobs[s.ID] == "" {
				t.Fatalf("seed %d: no job does %s", seed, s.ID)
			}
			for _, need := range s.Needs {
				if a, b := jobs[need], jobs[s.ID]; a != b && !run.before[b][a] {
					t.Fatalf("seed %d: %q does not wait for %q, which does %s", seed, b, a, need)
				}
			}
		}
	}
	if split < 5 || stages < 5 {
		t.Errorf("%d pipelines were split and %d had jobs without needs: the test has lost what it is for", split, stages)
	}
}

func TestNoPipelineHoldsASecret(t *testing.T) {
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64", Lock: &buildcache.Lockfile{}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		"glpat-" + strings.Repeat("a", 20), "AKIA" + strings.Repeat("A", 16), "https://me:" + "password@example.org", "https://b.s3.amazonaws.com/x?X-Amz-Signature=abc",
		"-----BEGIN OPENSSH PRIVATE KEY-----", "ghp_" + strings.Repeat("a", 36), "https://x.blob.core.windows.net/a?sv=1&sig=abc",
	} {
		c := GitLab{Command: "mage", Dir: "out/ci", Jobs: GitLabJob{Variables: map[string]string{"A": secret}}}
		if _, err := c.Files(g); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v", secret, err)
		}
		h := GitHub{Variables: map[string]string{"A": secret}}
		if _, err := h.Files(); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("GitHub: %s: got %v", secret, err)
		}
	}
	c := GitLab{Command: "mage", Dir: "out/ci", Jobs: GitLabJob{Variables: map[string]string{"A": "https://$USER:$PASSWORD@example.org", "HTTPS_PROXY": "http://proxy:3128"}}}
	if _, err := c.Files(g); err != nil {
		t.Errorf("references to variables are no secrets: %v", err)
	}
}

func TestEachLimitIsTold(t *testing.T) {
	job := func(i int, fields string) string { return fmt.Sprintf("j%d: {script: [x]%s}\n", i, fields) }
	many := func(n int, fields string) (text string) {
		for i := range n {
			text += job(i, fields)
		}
		return text
	}
	needs := func(n int) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("j%d", i))
		}
		return ", needs: [" + strings.Join(names, ", ") + "]"
	}
	deep := strings.Repeat("[", 20) + strings.Repeat("]", 20)
	limits := GitLabLimits{Bytes: 50000, Depth: 15, Jobs: 20, Needs: 5, Children: 3, Matrix: 10}
	for _, c := range []struct{ name, text, want string }{
		{"jobs", many(21, ""), "a.yml: jobs: 21, and GitLab takes 20"},
		{"needs", many(6, "") + job(9, needs(6)), `a.yml: job "j9": needs: 6, and GitLab takes 5`},
		{"bytes", many(1, ", variables: {A: "+strings.Repeat("x", 60000)+"}"), "bytes of YAML in memory"},
		{"aliases", "a: &a [" + strings.Repeat("x, ", 2000) + "x]\nj: {script: [*a, *a]}\n", "bytes of YAML in memory"},
		{"depth", many(1, "") + "k: {script: " + deep + "}\n", "depth of YAML: 22, and GitLab takes 15"},
		{"children", "a: {trigger: {include: x}}\nb: {trigger: x}\nc: {trigger: x}\nd: {trigger: x}\n", "child pipelines: 4, and GitLab takes 3"},
		{"matrix", "a: {script: [x], parallel: {matrix: [{A: [1, 2, 3], B: [1, 2, 3, 4]}]}}\n", "legs of its matrix: 12, and GitLab takes 10"},
		{"unknown need", job(0, ", needs: [k]"), `job "j0" needs "k", which is not in the file`},
		{"later stage", "stages: [a, b]\nx: {stage: a, script: [x], needs: [y]}\ny: {stage: b, script: [x]}\n", "which is in a later stage"},
		{"unknown stage", job(0, ", stage: deploi"), `there is no stage "deploi"`},
		{"no job", "stages: [a]\n", "it has no job"},
		{"no YAML", "a: [", "a.yml: yaml"},
		{"no mapping", "[a]", "it is no mapping"},
	} {
		text := c.text
		if !strings.Contains(text, "stages:") {
			text = "stages: [test]\n" + text
		}
		if c.name == "no YAML" || c.name == "no mapping" {
			text = c.text
		}
		errs := errors.Join(CheckGitLab(map[string][]byte{"a.yml": []byte(text)}, limits)...)
		if errs == nil || !strings.Contains(errs.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, errs, c.want)
		}
	}
	random := make([]byte, 200)
	for i := range random {
		random[i] = "abcdefghijklmnopqrstuvwxyz234567"[rand.IntN(32)]
	}
	if errs := CheckGitLab(map[string][]byte{"a.yml": []byte("a: {script: [" + string(random) + "]}")}, GitLabLimits{Artifact: 100}); !strings.Contains(errors.Join(errs...).Error(), "compressed bytes in one artifact") {
		t.Errorf("got %v", errs)
	}
}

func TestWhatCannotBeSplitSaysWhichLimitAndWhere(t *testing.T) {
	g, err := New(Request{Containers: world(rand.New(rand.NewPCG(1, 1)), 40, 8), Publish: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = GitLab{Command: "mage", Dir: "out/ci", Limits: GitLabLimits{Bytes: 1000}}.Files(g)
	var limit *LimitError
	if !errors.As(err, &limit) || !strings.HasPrefix(err.Error(), "the jobs of packages amd64 1: ") {
		t.Errorf("got %v", err)
	}
}

func TestNothingToDoIsAPipelineNevertheless(t *testing.T) {
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64", Lock: &buildcache.Lockfile{}, UpToDate: true}}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := GitLab{Command: "mage", Dir: "out/ci"}.Files(g)
	if err != nil {
		t.Fatal(err)
	}
	run := follow(t, files)
	if len(run.script) != 1 || run.script["nothing to do"] != "echo 'nothing to do: 1 container up to date'" {
		t.Errorf("got %v", run.script)
	}
}

func TestLockfilesComeFirstAndThenThePlanAgain(t *testing.T) {
	g, err := New(Request{Containers: []Container{{Name: "c", Platform: "linux/amd64", LockPath: "container_definitions/amd64/c/spack.lock"}}})
	if err != nil {
		t.Fatal(err)
	}
	c := GitLab{Command: "mage", Dir: "out/ci"}
	files, err := c.Files(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mage containers:lock c --platform=linux/amd64 --save", "- container_definitions/amd64/c/spack.lock", "mage ci:gitlab --out=out/ci --nested", "artifact: out/ci/pipeline.yml"} {
		if !strings.Contains(string(files[pipelineFile]), want) {
			t.Errorf("%q is not in\n%s", want, files[pipelineFile])
		}
	}
	c.Nested = true
	if _, err := c.Files(g); err == nil || !strings.Contains(err.Error(), "has no lockfile still") {
		t.Errorf("got %v", err)
	}
}
