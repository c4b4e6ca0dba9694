package pipeline

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// A trigger is a job that starts a child pipeline and waits for it.
type trigger struct {
	name       string
	kind       Kind   // of the jobs in it, which is its stage
	file, from string // which file, of which job's artifacts
	dir        string
	needs      []need
}

// planned is the kind of all that a plan within a pipeline finds.
const planned Kind = "build"

// filesStage comes first.
const filesStage = "files"

// Header begins every file that is written.
const Header = "# Written by ci:gitlab: changes are lost. Every job calls one target, which runs at a shell too.\n"

// render writes a pipeline.
func (c GitLab) render(jobs []job, triggers ...trigger) []byte {
	stages, of := stagesOf(jobs, triggers)
	w := &document{}
	w.add("stages", strings2node(stages))
	w.add("workflow", mapping("rules", sequence(mapping("when", "always")))) // also below a merge request's
	templates := map[string]string{}                                         // name by its text
	for _, j := range jobs {
		template, text := c.template(j)
		if templates[text] == "" {
			name := "." + strings.TrimSpace(string(j.kind)+" "+arch(j.platform))
			if j.kind == "" {
				name = ".other"
			}
			templates[text] = name
			w.add(name, template)
		}
		w.add(j.name, c.jobNode(j, of[j.name], templates[text]))
	}
	for _, t := range triggers {
		w.add(t.name, c.triggerNode(t))
	}
	return w.text()
}

// stagesOf gives each job a stage: those of packages by their levels, so that a job without needs of
// its own, because they were too many, comes behind all that it needs.
func stagesOf(jobs []job, triggers []trigger) (stages []string, of map[string]string) {
	of = map[string]string{}
	rank := map[string]int{filesStage: -1}
	order := func(kind Kind) int { return slices.Index(Kinds, kind) * 10000 }
	for _, j := range jobs {
		stage := j.stage
		switch {
		case stage != "":
		case j.kind == Package:
			stage = fmt.Sprintf("packages %d", j.level+1)
			rank[stage] = order(Package) + j.level
		case j.kind == "":
			stage = "other"
			rank[stage] = 1 << 30
		default:
			stage = string(j.kind)
			rank[stage] = order(j.kind)
		}
		of[j.name] = stage
	}
	for _, t := range triggers {
		of[t.name] = string(t.kind)
		rank[string(t.kind)] = order(t.kind)
		if t.kind == planned {
			rank[string(t.kind)] = 1<<30 + 1
		}
	}
	for _, stage := range of {
		stages = append(stages, stage)
	}
	slices.SortFunc(stages, func(a, b string) int { return rank[a] - rank[b] })
	return slices.Compact(stages), of
}

// template is what all jobs of a kind and platform have in common.
func (c GitLab) template(j job) (*yaml.Node, string) {
	s := c.Platform[j.platform].over(c.Steps[j.kind].over(c.Jobs))
	var fields []any
	if len(s.Tags) > 0 {
		fields = append(fields, "tags", strings2node(s.Tags))
	}
	if s.Image != "" {
		fields = append(fields, "image", mapping("name", s.Image, "entrypoint", strings2node([]string{""})))
	}
	if len(s.Before) > 0 {
		fields = append(fields, "before_script", strings2node(s.Before))
	}
	if s.Timeout > 0 {
		fields = append(fields, "timeout", fmt.Sprintf("%d minutes", int(s.Timeout.Minutes())))
	}
	if len(s.Variables) > 0 {
		fields = append(fields, "variables", sorted(s.Variables, func(v string) any { return v }))
	}
	if len(s.IDTokens) > 0 {
		fields = append(fields, "id_tokens", sorted(s.IDTokens, func(audience string) any { return mapping("aud", audience) }))
	}
	if s.Retry > 0 {
		fields = append(fields, "retry", mapping("max", s.Retry, "when", strings2node([]string{"runner_system_failure", "stuck_or_timeout_failure", "api_failure", "scheduler_failure"})))
	}
	fields = append(fields, "interruptible", j.kind != Publication && j.kind != Index && j.kind != SIF)
	node := mapping(fields...)
	text, err := yaml.Marshal(node)
	if err != nil {
		panic(err) // it is made of strings
	}
	return node, string(j.kind) + " " + j.platform + "\n" + string(text)
}

// shell are the programs of jobs that call no target: they have nothing to do but to be there.
var shell = []string{"echo", "ls"}

func (c GitLab) jobNode(j job, stage, template string) *yaml.Node {
	fields := []any{"extends", template, "stage", stage}
	switch {
	case j.always: // when all before it are done, whatever became of them
		fields = append(fields, "dependencies", needsNode(nil))
	case len(j.needs) <= c.Limits.Needs:
		fields = append(fields, "needs", needsNode(j.needs))
	}
	var lines []string
	for _, words := range j.lines {
		line := quote.Line(words)
		if !slices.Contains(shell, words[0]) {
			line = c.Command + " " + line
		}
		lines = append(lines, line)
	}
	fields = append(fields, "script", strings2node(lines))
	if len(j.artifacts) > 0 {
		fields = append(fields, "artifacts", mapping("paths", strings2node(j.artifacts), "expire_in", "1 week"))
	}
	if j.always {
		fields = append(fields, "when", "always")
	}
	if j.optional {
		fields = append(fields, "allow_failure", true)
	}
	if slices.Contains(shell, j.lines[0][0]) {
		fields = append(fields, "variables", mapping("GIT_STRATEGY", "none"))
	}
	return mapping(fields...)
}

func needsNode(needs []need) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if len(needs) == 0 {
		list.Style = yaml.FlowStyle
	}
	for _, n := range needs {
		if n.pipeline != "" {
			list.Content = append(list.Content, mapping("pipeline", n.pipeline, "job", n.job))
		} else if n.artifacts {
			list.Content = append(list.Content, scalar(n.job))
		} else {
			list.Content = append(list.Content, mapping("job", n.job, "artifacts", false))
		}
	}
	return list
}

func (c GitLab) triggerNode(t trigger) *yaml.Node {
	include := sequence(mapping("artifact", t.dir+"/"+t.file, "job", t.from))
	return mapping("stage", string(t.kind), "needs", needsNode(t.needs), "trigger", mapping("include", include, "strategy", "depend"))
}

// A document is a pipeline's file, in the order in which it is written.
type document struct{ root yaml.Node }

func (d *document) add(key string, value *yaml.Node) {
	d.root.Kind = yaml.MappingNode
	d.root.Content = append(d.root.Content, scalar(key), value)
}

func (d *document) text() []byte {
	var b bytes.Buffer
	b.WriteString(Header)
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&d.root); err != nil {
		panic(err) // it is made of strings
	}
	return b.Bytes()
}

func scalar(v any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
	switch v.(type) {
	case bool:
		n.Tag = "!!bool"
	case int:
		n.Tag = "!!int"
	default:
		n.Tag = "!!str" // so that it is quoted where it would be read as something else
	}
	return n
}

// mapping makes a mapping of keys, each followed by its value.
func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		value, ok := pairs[i+1].(*yaml.Node)
		if !ok {
			value = scalar(pairs[i+1])
		}
		m.Content = append(m.Content, scalar(pairs[i]), value)
	}
	return m
}

func sorted(values map[string]string, node func(string) any) *yaml.Node {
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	var pairs []any
	for _, name := range names {
		pairs = append(pairs, name, node(values[name]))
	}
	return mapping(pairs...)
}

func sequence(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: items}
}

func strings2node(words []string) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, w := range words {
		list.Content = append(list.Content, scalar(w))
	}
	return list
}
