package pipeline

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// spackCI reads what real Spack has generated.
func spackCI(t *testing.T, names ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("testdata", "spack-ci", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = text
	}
	return files
}

func TestRealPipelinesOfSpackMerge(t *testing.T) {
	all, err := MergeSpackCI(spackCI(t, "env-a.yml", "env-b.yml", "env-a-noop.yml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if all.Builds() != 16 || all.Shared != 11 {
		t.Errorf("%d builds, %d of them shared, want 16 and 11", all.Builds(), all.Shared)
	}
	files, err := all.Files("out/ci", GitLabLimits{})
	if err != nil {
		t.Fatal(err)
	}
	run := follow(t, files)
	if len(files) != 1 || len(run.script)-1 != 16 { // and the index
		t.Fatalf("%d files with %d jobs", len(files), len(run.script))
	}
	if _, ok := run.script[noSpecs]; ok {
		t.Error("there is something to do, and a job that says otherwise")
	}
	for name, j := range all.jobs {
		for _, n := range j.needs {
			if !run.before[name][n] {
				t.Errorf("%s does not wait for %s", name, n)
			}
		}
		if j.hash != "" && !run.before["rebuild-index"][name] {
			t.Errorf("the index is made before %s", name)
		}
	}
}

// What a job of the merged pipeline runs with is what it had: the fields that all have in common
// come back.
func TestMergedJobsKeepTheirFields(t *testing.T) {
	in := spackCI(t, "env-a.yml", "env-b.yml")
	in["env-b.yml"] = []byte(strings.Replace(string(in["env-b.yml"]), "SPACK_CONCRETE_ENV_DIR: jobs_scratch_dir", "SPACK_CONCRETE_ENV_DIR: other_dir", 1))
	all, err := MergeSpackCI(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := all.Files("out/ci", GitLabLimits{})
	if err != nil {
		t.Fatal(err)
	}
	var merged, a, b map[string]any
	for text, v := range map[string]*map[string]any{string(files[pipelineFile]): &merged, string(in["env-a.yml"]): &a, string(in["env-b.yml"]): &b} {
		if err := yaml.Unmarshal([]byte(text), v); err != nil {
			t.Fatal(err)
		}
	}
	variables := func(job string) map[string]any {
		own := merged[job].(map[string]any)
		all := map[string]any{}
		for _, from := range []any{merged["variables"], merged[spackTemplate].(map[string]any)["variables"], own["variables"]} {
			for k, v := range from.(map[string]any) {
				all[k] = v
			}
		}
		return all
	}
	for job, want := range a {
		fields, ok := want.(map[string]any)
		if !ok || !strings.Contains(job, "@") {
			continue
		}
		own := merged[job].(map[string]any)
		for field, value := range fields {
			switch field {
			case "stage", "needs":
			case "variables":
				got := variables(job)
				for k, v := range value.(map[string]any) {
					if got[k] != v {
						t.Errorf("%s: %s is %v, want %v", job, k, got[k], v)
					}
				}
				if got["SPACK_CONCRETE_ENV_DIR"] != "jobs_scratch_dir/concrete_environment" {
					t.Errorf("%s builds in %v", job, got["SPACK_CONCRETE_ENV_DIR"])
				}
			default:
				got := own[field]
				if got == nil {
					got = merged[spackTemplate].(map[string]any)[field]
				}
				if fmt.Sprint(got) != fmt.Sprint(value) {
					t.Errorf("%s: %s is %v, want %v", job, field, got, value)
				}
			}
		}
	}
	for job := range b {
		if _, shared := a[job]; !shared && strings.Contains(job, "@") && variables(job)["SPACK_CONCRETE_ENV_DIR"] != "other_dir/concrete_environment" {
			t.Errorf("%s builds in %v", job, variables(job)["SPACK_CONCRETE_ENV_DIR"])
		}
	}
}

func TestWhatAMirrorHasIsNotBuilt(t *testing.T) {
	in := spackCI(t, "env-a.yml", "env-b.yml")
	all, err := MergeSpackCI(in, func(buildcache.Hash) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	files, err := all.Files("out/ci", GitLabLimits{})
	if err != nil {
		t.Fatal(err)
	}
	if run := follow(t, files); all.Cached != 16 || len(run.script) != 1 || !strings.Contains(run.script[noSpecs], "nothing to build") {
		t.Errorf("%d are left out, and what is left is %v", all.Cached, run.script)
	}
	some := func(h buildcache.Hash) bool { return h[0] < 'm' }
	if all, err = MergeSpackCI(in, some); err != nil {
		t.Fatal(err)
	}
	if files, err = all.Files("out/ci", GitLabLimits{}); err != nil { // no job needs what is left out
		t.Fatal(err)
	}
	if all.Cached == 0 || all.Builds() == 0 || all.Cached+all.Builds() != 16 || len(follow(t, files).script) != all.Builds()+1 {
		t.Errorf("%d are left out, %d are built", all.Cached, all.Builds())
	}
	if all, err = MergeSpackCI(spackCI(t, "env-a-noop.yml"), nil); err != nil {
		t.Fatal(err)
	}
	if files, err = all.Files("out/ci", GitLabLimits{}); err != nil || len(follow(t, files).script) != 1 {
		t.Errorf("nothing to do: %v, %v", files, err)
	}
}

// synthetic pipelines as Spack writes them, whose jobs are taken from one pool.
func synthetic(r *rand.Rand, files, packages int) map[string][]byte {
	deps := make([][]int, packages)
	for i := range deps {
		for range r.IntN(4) {
			if i > 0 {
				deps[i] = append(deps[i], r.IntN(i))
			}
		}
		slices.Sort(deps[i])
		deps[i] = slices.Compact(deps[i])
	}
	name := func(i int) string { return fmt.Sprintf("p%d@1 /%s", i, hash(i)) }
	all := map[string][]byte{}
	for f := range files {
		in := map[int]bool{}
		var add func(i int)
		add = func(i int) {
			if !in[i] {
				in[i] = true
				for _, d := range deps[i] {
					add(d)
				}
			}
		}
		for range 1 + r.IntN(10) {
			add(r.IntN(packages))
		}
		var b strings.Builder
		b.WriteString("stages: [stage-0, stage-rebuild-index]\n")
		for i := range packages {
			if !in[i] {
				continue
			}
			fmt.Fprintf(&b, "%q:\n  script: [spack ci rebuild]\n  stage: stage-0\n  variables: {%s: %s, N: %d}\n  needs:\n  - {job: none, pipeline: none}\n", name(i), hashVariable, hash(i), i)
			for _, d := range deps[i] {
				fmt.Fprintf(&b, "  - {job: %q, artifacts: false}\n", name(d))
			}
		}
		b.WriteString("rebuild-index: {script: [x], stage: stage-rebuild-index, when: always, dependencies: []}\n")
		all[fmt.Sprintf("%d.yml", f)] = []byte(b.String())
	}
	return all
}

func TestMergedPipelinesAreInOrderWhateverTheLimits(t *testing.T) {
	split := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		all, err := MergeSpackCI(synthetic(r, 1+r.IntN(5), 5+r.IntN(80)), nil)
		if err != nil {
			t.Fatal(err)
		}
		limits := GitLabLimits{Jobs: 4 + r.IntN(40), Needs: 2 + r.IntN(4), Children: 100}
		files, err := all.Files("out/ci", limits)
		if err != nil {
			if strings.Contains(err.Error(), "pipeline.yml: jobs") { // more children than jobs are allowed
				continue
			}
			t.Fatalf("seed %d: %v", seed, err)
		}
		if len(files) > 1 {
			split++
		}
		run := follow(t, files)
		for name, j := range all.jobs {
			if _, ok := run.script[name]; !ok {
				t.Fatalf("seed %d: no file has %s", seed, name)
			}
			for _, n := range j.needs {
				if !run.before[name][n] {
					t.Fatalf("seed %d: %s does not wait for %s", seed, name, n)
				}
			}
		}
	}
	if split < 10 {
		t.Errorf("%d were split: the test has lost what it is for", split)
	}
}

func TestWhatIsNoPipelineOfSpackIsRefused(t *testing.T) {
	job := func(hash, script string) string {
		return fmt.Sprintf("a: {script: [%s], stage: s, variables: {%s: %s}}\n", script, hashVariable, hash)
	}
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 32)
	bomb := "a0: &a0 [x, x]\n"
	for i := range 40 {
		bomb += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	for _, c := range []struct{ name, one, two, want string }{
		{"no YAML", "a: [", "", "one.yml: yaml:"},
		{"a list", "[a]", "", "it is no pipeline"},
		{"a job that is text", "a: b", "", `job "a" is no mapping`},
		{"no hash", job("x", "y"), "", `job "a": `},
		{"other hash", job(a, "y"), job(b, "y"), `its job "a" is another one`},
		{"other script", "i: {script: [x]}", "i: {script: [y]}", `its job "i" is another one`},
		{"other default", "default: {image: a}", "default: {image: b}", `its "default" is not that of the others`},
		{"itself", "a: {needs: [b], script: [x], variables: {" + hashVariable + ": " + a + "}}\nb: {needs: [a], script: [x], variables: {" + hashVariable + ": " + b + "}}", "", "needs itself"},
		{"aliases of aliases", bomb, "", "too large"},
		{"twice", "a: {script: [x]}\na: {script: [y]}", "", `"a" is there twice`},
	} {
		files := map[string][]byte{"one.yml": []byte(c.one)}
		if c.two != "" {
			files["two.yml"] = []byte(c.two)
		}
		if _, err := MergeSpackCI(files, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}
