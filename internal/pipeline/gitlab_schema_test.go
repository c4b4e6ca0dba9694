package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// gitlabSchema compiles GitLab's own schema of .gitlab-ci.yml, as gitlab-ci-local brings it along.
func gitlabSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	size.Need(t, size.All)
	program, err := filepath.EvalSymlinks(tooltest.Need(t, "gitlab-ci-local"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(program), "schema", "schema.js")
	text, err := exec.CommandContext(t.Context(), tooltest.Need(t, "node"), "--input-type=module", "--eval",
		fmt.Sprintf("import {schema} from %q; process.stdout.write(JSON.stringify(schema))", "file://"+path)).Output()
	if err != nil {
		t.Fatalf("schema of gitlab-ci-local: %v", err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(func(pattern string) (jsonschema.Regexp, error) {
		if compiled, err := regexp.Compile(pattern); err == nil {
			return compiled, nil
		}
		return anyRegexp(pattern), nil
	})
	if err := c.AddResource("gitlab.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("gitlab.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		var doc any
		if err := yaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(asJSON, &doc); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Thousands of jobs are written, held against the limits and GitLab's schema, and each is done once.
func TestFiveThousandJobsAreWithinLimitsAndSchema(t *testing.T) {
	schema := gitlabSchema(t)
	r := rand.New(rand.NewPCG(5, 5))
	containers := world(r, 4200, 400)
	for i := range containers { // all packages are wanted
		containers[i].UpToDate = false
		containers[i].Lock = &buildcache.Lockfile{Specs: map[buildcache.Hash]*buildcache.Spec{}}
	}
	pool := world(rand.New(rand.NewPCG(5, 5)), 4200, 400)
	all := map[buildcache.Hash]*buildcache.Spec{}
	for _, c := range pool {
		maps.Copy(all, c.Lock.Specs)
	}
	hashes := slices.Sorted(maps.Keys(all))
	for i := range containers {
		containers[i].Lock.Specs = all
		for n, h := range hashes {
			if n%200 == i/2 {
				containers[i].Roots = append(containers[i].Roots, h)
			}
		}
	}
	began := time.Now()
	g, err := New(Request{Containers: containers, Publish: true, SIF: true})
	if err != nil {
		t.Fatal(err)
	}
	c := GitLab{Command: "mage", Dir: "out/ci", Share: time.Second, Jobs: GitLabJob{Tags: []string{"docker"}, Image: "registry.example.org/tool@sha256:" + fmt.Sprintf("%064d", 1),
		Timeout: 4 * time.Hour, Retry: 1, Variables: map[string]string{"A": "b"}, IDTokens: map[string]string{"AWS_TOKEN": "https://gitlab.example.org"}}}
	files, err := c.Files(g)
	if err != nil {
		t.Fatal(err)
	}
	written := time.Since(began)
	run := follow(t, files)
	done := run.jobsOf(g)
	for _, s := range g.Steps {
		if done[s.ID] == "" {
			t.Fatalf("no job does %s", s.ID)
		}
	}
	t.Logf("%d steps in %d jobs in %d files, written in %v", len(g.Steps), len(run.before), len(files), written)
	validate(t, schema, files)
	root, err := c.Root()
	if err != nil {
		t.Fatal(err)
	}
	validate(t, schema, map[string][]byte{".gitlab-ci.yml": root})
	for _, jobs := range []int{0, 7} { // what Spack generated, merged, and split
		spack, err := MergeSpackCI(spackCI(t, "env-a.yml", "env-b.yml"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if files, err = spack.Files("out/ci", GitLabLimits{Jobs: jobs}); err != nil {
			t.Fatal(err)
		}
		validate(t, schema, files)
	}
	if len(run.before) < 5000 {
		t.Errorf("%d jobs are fewer than are to be tried", len(run.before))
	}
}

// anyRegexp lets through patterns of JavaScript that Go does not have: they are about the text of
// scripts and URLs.
type anyRegexp string

func (a anyRegexp) MatchString(string) bool { return true }
func (a anyRegexp) String() string          { return string(a) }
