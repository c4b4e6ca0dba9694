package pipeline

import (
	"strings"
	"testing"
)

// An Apptainer definition file has a job in the pipelines of both engines, which waits for no
// container and takes over no image.
func TestDefinitionFilesHaveJobsOfTheirOwn(t *testing.T) {
	g := graphOf(t, []Container{
		{Name: "storage", Platform: "linux/amd64", Version: "1.7.0", Apptainer: true, Why: []string{"there is no SIF of it"}},
		{Name: "kept", Platform: "linux/amd64", Version: "1", Apptainer: true, UpToDate: true},
	})
	if s, ok := g.Step("sif:linux/amd64:storage"); !ok || !s.FromFile() || len(g.Steps) != 1 || g.UpToDate != 1 {
		t.Fatalf("%+v", g)
	}
	if !strings.Contains(g.Markdown(), "| sif storage | linux/amd64 | there is no SIF of it |  |") {
		t.Error(g.Markdown())
	}

	h := GitHub{SIF: true, SIFOnly: map[string][]string{"storage": {"linux/amd64"}, "kept": {"linux/amd64"}}, SIFs: []string{"SIFS_SECRET"}}
	outputs, err := h.Outputs(g)
	if err != nil {
		t.Fatal(err)
	}
	if legs := legsOf(t, outputs, "sifs-1"); len(legs) != 1 || len(legs[0]) != 1 || legs[0][0].Container != "storage" || legs[0][0].File != "true" {
		t.Errorf("legs %+v", legs)
	}
	for looks := range 2 { // where there are such files the plan of releases looks for their SIFs, and no pull request does
		files, err := h.Files()
		if err != nil {
			t.Fatal(err)
		}
		plan, _, _ := strings.Cut(string(files["containers.yml"]), "\n  containers-1:")
		if strings.Contains(plan, "SIFS_SECRET") != (looks == 0) || strings.Contains(string(files["pull-request.yml"]), "SIFS_SECRET") {
			t.Errorf("%v: %s", h.SIFOnly, plan)
		}
		h.SIFOnly = nil
	}

	written, err := GitLab{Command: "mage", Dir: "out/ci"}.Files(g)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(written[pipelineFile]); !strings.Contains(text, "sif storage amd64:\n  extends: .sif amd64\n  stage: sif\n  needs: []\n  script:\n    - mage sif:build storage --platform=linux/amd64\n") {
		t.Errorf("%s", text)
	}
}
