package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// spackTemplate is what all builds have in common.
const spackTemplate = ".build"

// Files returns the merged pipeline as the text of files by their names: pipeline.yml alone where
// that is within the limits, or else with the children that it starts one after the other, each with
// some stages. dir is where they will be, relative to the repository.
func (s *SpackCI) Files(dir string, limits GitLabLimits) (map[string][]byte, error) {
	limits = limits.orDefault()
	c := GitLab{Dir: dir, Limits: limits}
	if len(s.jobs) == 0 {
		return c.check(map[string][]byte{pipelineFile: c.render([]job{{name: noSpecs, lines: [][]string{{"echo", "all packages are in the build cache: there is nothing to build"}}}})})
	}
	jobs := slices.SortedFunc(maps.Values(s.jobs), func(a, b *spackJob) int {
		return cmp.Or(cmp.Compare(kindOrder(a), kindOrder(b)), cmp.Compare(a.level, b.level), cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	})
	single, err := c.check(map[string][]byte{pipelineFile: s.write(jobs, limits)})
	if err == nil {
		return single, nil
	}
	return s.split(c, jobs)
}

func kindOrder(j *spackJob) int {
	if j.hash != "" {
		return 0
	}
	return 1
}

// split makes children of as many jobs as the limits allow, in the order of their stages.
func (s *SpackCI) split(c GitLab, jobs []*spackJob) (map[string][]byte, error) {
	files := map[string][]byte{}
	triggers := []trigger{}
	for begin := 0; begin < len(jobs); {
		n := min(len(jobs)-begin, c.Limits.Jobs)
		text := s.write(jobs[begin:begin+n], c.Limits)
		for n > 1 && len(CheckGitLab(map[string][]byte{"x": text}, c.Limits)) > 0 {
			n = n * 9 / 10
			text = s.write(jobs[begin:begin+n], c.Limits)
		}
		name := fmt.Sprintf("packages-%d.yml", len(files)+1)
		files[name] = text
		t := trigger{name: fmt.Sprintf("packages %d", len(files)), kind: Package, file: name, from: filesJob, dir: c.Dir, needs: []need{{job: filesJob}}}
		if len(triggers) > 0 {
			t.needs = append(t.needs, need{job: triggers[len(triggers)-1].name})
		}
		triggers = append(triggers, t)
		begin += n
	}
	files[pipelineFile] = c.render([]job{c.filesJob()}, triggers...)
	return c.check(files)
}

// write writes some jobs as one pipeline. Needs on jobs of earlier pipelines are met by then.
func (s *SpackCI) write(jobs []*spackJob, limits GitLabLimits) []byte {
	common := commonFields(jobs)
	w := &document{}
	var stages []string
	here := map[string]bool{}
	for _, j := range jobs {
		here[j.name] = true
		if !slices.Contains(stages, j.stage) {
			stages = append(stages, j.stage)
		}
	}
	w.add("stages", strings2node(stages))
	for _, key := range slices.Sorted(maps.Keys(s.top)) {
		w.add(key, s.top[key])
	}
	if len(common) > 0 {
		w.add(spackTemplate, mappingOf(common))
	}
	for _, j := range jobs {
		w.add(j.name, j.node(common, here, limits))
	}
	return w.text()
}

// commonFields are those that all builds have, and alike.
func commonFields(jobs []*spackJob) map[string]*yaml.Node {
	var common map[string]*yaml.Node
	for _, j := range jobs {
		if j.hash == "" {
			continue
		}
		if common == nil {
			common = maps.Clone(j.fields)
			common["variables"] = plainCopy(common["variables"])
			continue
		}
		for key, value := range common {
			switch other := j.fields[key]; {
			case key == "variables" && other != nil:
				own := fieldsOf(other)
				all := fieldsOf(value)
				maps.DeleteFunc(all, func(name string, v *yaml.Node) bool { return textOf(own[name]) != textOf(v) })
				common[key] = mappingOf(all)
			case textOf(other) != textOf(value):
				delete(common, key)
			}
		}
	}
	if v := common["variables"]; v != nil && len(v.Content) == 0 {
		delete(common, "variables")
	}
	return common
}

func (j *spackJob) node(common map[string]*yaml.Node, here map[string]bool, limits GitLabLimits) *yaml.Node {
	fields := maps.Clone(j.fields)
	if j.hash != "" && len(common) > 0 {
		for key, value := range common {
			if key == "variables" {
				own := maps.Clone(fieldsOf(fields[key]))
				for name := range fieldsOf(value) {
					delete(own, name)
				}
				fields[key] = mappingOf(own)
			} else {
				delete(fields, key)
			}
		}
		fields["extends"] = scalar(spackTemplate)
	}
	fields["stage"] = scalar(j.stage)
	var needs []*yaml.Node
	for _, n := range j.needs {
		if here[n] {
			needs = append(needs, mapping("job", n, "artifacts", false))
		}
	}
	needs = append(needs, j.others...)
	if j.hash != "" && len(needs) <= limits.Needs {
		fields["needs"] = sequence(needs...)
	}
	return mappingOf(fields)
}
