package pipeline

import "go.yaml.in/yaml/v3"

// Root returns the .gitlab-ci.yml of a repository: it plans and starts what is planned, and where
// the pipeline is a scheduled one it has the janitor report, and prune or say what would go. It is the same whatever is to
// be built, so that it can be committed.
func (c GitLab) Root() ([]byte, error) {
	c.Limits = c.Limits.orDefault()
	w := &document{}
	stages := []string{"plan", "build"}
	if c.Caches {
		stages = append(stages, "janitor")
	}
	w.add("stages", strings2node(stages))
	w.add("workflow", mapping("rules", sequence(
		mapping("if", `$CI_PIPELINE_SOURCE == "merge_request_event"`),
		mapping("if", "$CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS", "when", "never"), // that has a pipeline of its own
		mapping("if", "$CI_COMMIT_BRANCH"),
	)))
	template, _ := c.template(job{})
	w.add(".other", template)
	scheduled := `$CI_PIPELINE_SOURCE == "schedule"`
	builds := sequence(mapping("if", scheduled, "when", "never"), mapping("when", "on_success"))
	w.add("plan", mapping("extends", ".other", "stage", "plan", "rules", builds,
		"script", strings2node([]string{c.Command + " ci:gitlab --out=" + c.Dir}),
		"artifacts", mapping("paths", strings2node([]string{c.Dir + "/"}), "expose_as", "What is to be built", "expire_in", "1 week")))
	w.add("build", mapping("stage", "build", "needs", strings2node([]string{"plan"}), "rules", builds,
		"trigger", mapping("include", sequence(mapping("artifact", c.Dir+"/"+pipelineFile, "job", "plan")), "strategy", "depend"),
		"variables", mapping("PARENT_PIPELINE_ID", "$CI_PIPELINE_ID")))
	if c.Caches {
		w.add("janitor", c.janitorJob(scheduled))
	}
	text := w.text()
	if errs := CheckGitLab(map[string][]byte{".gitlab-ci.yml": text}, c.Limits); len(errs) > 0 {
		return nil, errs[0]
	}
	return text, nil
}

// janitorJob is of scheduled pipelines, which build nothing.
func (c GitLab) janitorJob(when string) *yaml.Node {
	prune := " janitor:prune --yes"
	if !c.Prune {
		prune += " --dry-run"
	}
	return mapping("extends", ".other", "stage", "janitor", "rules", sequence(mapping("if", when)),
		"script", strings2node([]string{
			"mkdir -p out/janitor",
			c.Command + " janitor:report --metrics=out/janitor/report.prom --html=out/janitor/report.html --json >out/janitor/report.json",
			c.Command + prune + " --metrics=out/janitor/prune.prom",
		}),
		"artifacts", mapping("paths", strings2node([]string{"out/janitor"}), "when", "always", "expire_in", "3 months"))
}
