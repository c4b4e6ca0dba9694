package pipeline

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// GitLabLimits are what a server refuses to go beyond. A field that is 0 is as gitlab.com has it.
type GitLabLimits struct {
	Bytes     int   // of a file's content as the server holds it in memory, which is several times its text; 2 MB
	Depth     int   // of nested mappings and lists; 150
	Jobs      int   // of one pipeline, and active at a time; 500
	Needs     int   // of one job; 50
	Children  int   // that a pipeline starts; 1000
	Artifact  int64 // compressed bytes of the artifact that holds files of pipelines; 5 MB
	Matrix    int   // legs of a parallel matrix; 200
	NameBytes int   // of a job's name; 255
}

func (l GitLabLimits) orDefault() GitLabLimits {
	return GitLabLimits{
		Bytes: cmp.Or(l.Bytes, 2<<20), Depth: cmp.Or(l.Depth, 150), Jobs: cmp.Or(l.Jobs, 500), Needs: cmp.Or(l.Needs, 50),
		Children: cmp.Or(l.Children, 1000), Artifact: cmp.Or(l.Artifact, 5<<20), Matrix: cmp.Or(l.Matrix, 200), NameBytes: cmp.Or(l.NameBytes, 255),
	}
}

// A LimitError says which of GitLab's limits a pipeline is beyond, and where.
type LimitError struct {
	File  string
	Where string // a job, or empty: the whole file
	What  string // the limit, in words
	Got   int64
	Most  int64
}

func (e *LimitError) Error() string {
	where := e.File
	if e.Where != "" {
		where += ": " + e.Where
	}
	return fmt.Sprintf("%s: %s: %d, and GitLab takes %d", where, e.What, e.Got, e.Most)
}

// CheckGitLab holds pipelines against the limits, as far as their text shows: files by their names.
// It says what is wrong with each, and for what else GitLab would refuse it: needs that do not
// exist or are in a later stage, and values that look like secrets.
func CheckGitLab(files map[string][]byte, limits GitLabLimits) []error {
	limits = limits.orDefault()
	var errs []error
	var packed countingWriter
	zip := gzip.NewWriter(&packed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := zip.Write(files[name]); err != nil {
			return []error{err}
		}
		errs = append(errs, checkFile(name, files[name], limits)...)
	}
	if err := zip.Close(); err != nil {
		return []error{err}
	}
	if int64(packed) > limits.Artifact {
		errs = append(errs, &LimitError{File: "all files together", What: "compressed bytes in one artifact", Got: int64(packed), Most: limits.Artifact})
	}
	return errs
}

type countingWriter int64

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

func checkFile(name string, text []byte, limits GitLabLimits) (errs []error) {
	beyond := func(where, what string, got, most int) {
		if got > most {
			errs = append(errs, &LimitError{name, where, what, int64(got), int64(most)})
		}
	}
	if err := checkSecrets(name, text); err != nil {
		errs = append(errs, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return append(errs, fmt.Errorf("%s: %w", name, err))
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return append(errs, fmt.Errorf("%s: it is no mapping", name))
	}
	m := measure{most: limits.Bytes}
	m.node(doc.Content[0], 1)
	beyond("", "bytes of YAML in memory", m.bytes, limits.Bytes)
	beyond("", "depth of YAML", m.depth, limits.Depth)
	p := parsePipeline(doc.Content[0])
	beyond("", "jobs", len(p.jobs), limits.Jobs)
	children := 0
	for _, j := range p.jobs {
		beyond(fmt.Sprintf("job %q", j.name), "needs", len(j.needs), limits.Needs)
		beyond(fmt.Sprintf("job %.40q…", j.name), "bytes of its name", len(j.name), limits.NameBytes)
		beyond(fmt.Sprintf("job %q", j.name), "legs of its matrix", j.legs, limits.Matrix)
		if j.trigger {
			children++
		}
	}
	beyond("", "child pipelines", children, limits.Children)
	return append(errs, p.wrong(name)...)
}

// A measure is how much of a server's memory YAML takes, as GitLab measures it: each alias again.
type measure struct{ bytes, depth, most int }

// node adds a node. What is known of Ruby's objects: a string of up to 23 bytes, a list of up to
// three and a mapping's head take 40 bytes, which hold more only by reference.
func (m *measure) node(n *yaml.Node, depth int) {
	m.depth = max(m.depth, depth)
	if m.bytes > 4*m.most || depth > 1000 { // aliases of aliases: it is refused anyway
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		m.node(n.Alias, depth)
	case yaml.ScalarNode:
		if n.Tag != "!!str" {
			return // numbers and truth values are part of what holds them
		}
		m.bytes += 40
		if len(n.Value) > 23 {
			m.bytes += len(n.Value) + 1
		}
	case yaml.SequenceNode:
		m.bytes += 40
		if len(n.Content) > 3 {
			m.bytes += 8 * len(n.Content)
		}
		for _, c := range n.Content {
			m.node(c, depth+1)
		}
	case yaml.MappingNode:
		switch keys := len(n.Content) / 2; {
		case keys == 0:
			m.bytes += 40
		case keys <= 8:
			m.bytes += 168
		default:
			m.bytes += 192 + 48*keys
		}
		for _, c := range n.Content {
			m.node(c, depth+1)
		}
	}
}

// A parsedJob is what the check needs to know of a job.
type parsedJob struct {
	name, stage string
	needs       []string // in the same pipeline
	hasNeeds    bool
	trigger     bool
	legs        int
}

type parsedPipeline struct {
	stages []string
	jobs   []parsedJob
}

// notJobs are the keys of a pipeline that are no jobs.
var notJobs = []string{"stages", "variables", "workflow", "default", "include", "image", "services", "cache", "before_script", "after_script", "spec"}

func parsePipeline(root *yaml.Node) parsedPipeline {
	p := parsedPipeline{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, resolve(root.Content[i+1])
		switch {
		case key == "stages":
			p.stages = words(value)
		case strings.HasPrefix(key, ".") || slices.Contains(notJobs, key) || value.Kind != yaml.MappingNode:
		default:
			p.jobs = append(p.jobs, parseJob(key, value))
		}
	}
	return p
}

func parseJob(name string, value *yaml.Node) parsedJob {
	j := parsedJob{name: name, stage: "test"}
	for i := 0; i+1 < len(value.Content); i += 2 {
		field := resolve(value.Content[i+1])
		switch value.Content[i].Value {
		case "stage":
			j.stage = field.Value
		case "trigger":
			j.trigger = true
		case "parallel":
			j.legs = legs(field)
		case "needs":
			j.hasNeeds = true
			for _, n := range field.Content {
				if n = resolve(n); n.Kind == yaml.ScalarNode {
					j.needs = append(j.needs, n.Value)
				} else if get(n, "pipeline") == nil && get(n, "project") == nil && get(n, "job") != nil {
					j.needs = append(j.needs, get(n, "job").Value)
				}
			}
		}
	}
	return j
}

// legs is the number of jobs that `parallel` makes of one.
func legs(parallel *yaml.Node) (sum int) {
	for _, row := range get2(parallel, "matrix") {
		product := 1
		for i := 1; i < len(row.Content); i += 2 {
			product *= max(1, len(resolve(row.Content[i]).Content))
		}
		sum += product
	}
	return sum
}

// wrong says what GitLab would refuse beside its limits.
func (p parsedPipeline) wrong(file string) (errs []error) {
	stage := map[string]int{}
	for i, s := range append([]string{".pre"}, append(slices.Clone(p.stages), ".post")...) {
		stage[s] = i
	}
	at := map[string]int{}
	for _, j := range p.jobs {
		if _, ok := stage[j.stage]; !ok {
			errs = append(errs, fmt.Errorf("%s: job %q: there is no stage %q", file, j.name, j.stage))
		}
		at[j.name] = stage[j.stage]
	}
	if len(p.jobs) == 0 {
		errs = append(errs, fmt.Errorf("%s: it has no job", file))
	}
	for _, j := range p.jobs {
		for _, n := range j.needs {
			if before, ok := at[n]; !ok {
				errs = append(errs, fmt.Errorf("%s: job %q needs %q, which is not in the file", file, j.name, n))
			} else if before > at[j.name] {
				errs = append(errs, fmt.Errorf("%s: job %q needs %q, which is in a later stage", file, j.name, n))
			}
		}
	}
	return errs
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func get(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content) && m.Kind == yaml.MappingNode; i += 2 {
		if m.Content[i].Value == key {
			return resolve(m.Content[i+1])
		}
	}
	return nil
}

func get2(m *yaml.Node, key string) []*yaml.Node {
	if list := get(m, key); list != nil {
		var rows []*yaml.Node
		for _, row := range list.Content {
			rows = append(rows, resolve(row))
		}
		return rows
	}
	return nil
}

func words(list *yaml.Node) (all []string) {
	for _, n := range list.Content {
		all = append(all, resolve(n).Value)
	}
	return all
}

// check returns files that are within the limits, or the first of what is wrong.
func (c GitLab) check(files map[string][]byte) (map[string][]byte, error) {
	if errs := CheckGitLab(files, c.Limits); len(errs) > 0 {
		return nil, errs[0]
	}
	return files, nil
}

// CountJobs returns how many jobs a pipeline has; 0 where it is none.
func CountJobs(text []byte) int {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) != 1 {
		return 0
	}
	return len(parsePipeline(doc.Content[0]).jobs)
}
