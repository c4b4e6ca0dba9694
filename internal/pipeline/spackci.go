package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A SpackCI is what `spack ci generate` has written, of one environment or of several that were
// merged.
type SpackCI struct {
	jobs   map[string]*spackJob
	top    map[string]*yaml.Node // what else is at the top: workflow, default and the like
	Shared int                   // builds that two or more pipelines have
	Cached int                   // builds that were left out, because a mirror has the package
}

// A spackJob is one job, without anchors.
type spackJob struct {
	name   string
	hash   buildcache.Hash // of the package; empty: it builds none
	fields map[string]*yaml.Node
	needs  []string     // jobs of the same pipeline
	others []*yaml.Node // needs on jobs of other pipelines
	stage  string
	level  int // of builds: one more than that of what they need
	rank   int // of others: place of their stage in their pipeline
	files  int
}

// Names that Spack gives to jobs and variables.
const (
	hashVariable = "SPACK_JOB_SPEC_DAG_HASH"
	noSpecs      = "no-specs-to-rebuild"
)

// maxSpackCI is how much memory a pipeline may take, in bytes as GitLab counts: a job takes 7 kB.
const maxSpackCI = 64 << 20

// MergeSpackCI merges pipelines of `spack ci generate`, by their files' names. A package that several
// of them build is built once, by the job of the first, as early as all that it needs is there. What
// a mirror has is left out.
//
// Variables at the top that differ are given to the builds of their own pipeline. Anything else that
// two pipelines say differently is an error.
func MergeSpackCI(files map[string][]byte, has func(buildcache.Hash) bool) (*SpackCI, error) {
	all := &SpackCI{jobs: map[string]*spackJob{}, top: map[string]*yaml.Node{}}
	var parsed []*spackFile
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parseSpackCI(files[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f.name = name
		parsed = append(parsed, f)
	}
	spreadVariables(parsed)
	for _, f := range parsed {
		if err := all.merge(f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for _, j := range all.jobs {
		if j.files > 1 && j.hash != "" {
			all.Shared++
		}
	}
	all.leaveOut(has)
	return all, all.order()
}

// Builds is how many jobs build a package.
func (s *SpackCI) Builds() (n int) {
	for _, j := range s.jobs {
		if j.hash != "" {
			n++
		}
	}
	return n
}

// A spackFile is one pipeline.
type spackFile struct {
	name      string
	jobs      []*spackJob
	variables map[string]*yaml.Node
	top       map[string]*yaml.Node
}

func parseSpackCI(text []byte) (*spackFile, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no pipeline: want a mapping, as spack ci generate writes it")
	}
	m := measure{most: maxSpackCI}
	if m.node(doc.Content[0], 1); m.bytes > maxSpackCI || m.depth > 150 {
		return nil, errors.New("it is too large, or nested too deeply, for any pipeline")
	}
	f := &spackFile{variables: map[string]*yaml.Node{}, top: map[string]*yaml.Node{}}
	var stages []string
	seen := map[string]bool{}
	root := doc.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, plainCopy(root.Content[i+1])
		if seen[key] {
			return nil, fmt.Errorf("%q is there twice", key)
		}
		seen[key] = true
		switch {
		case key == "stages":
			stages = words(value)
		case key == "variables":
			f.variables = fieldsOf(value)
		case strings.HasPrefix(key, ".") || slices.Contains(notJobs, key):
			f.top[key] = value
		default:
			j, err := parseSpackJob(key, value)
			if err != nil {
				return nil, err
			}
			f.jobs = append(f.jobs, j)
		}
	}
	for _, j := range f.jobs {
		j.rank = slices.Index(stages, j.stage)
	}
	return f, nil
}

func parseSpackJob(name string, value *yaml.Node) (*spackJob, error) {
	if value.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("job %q is no mapping", name)
	}
	j := &spackJob{name: name, fields: fieldsOf(value), files: 1}
	if stage := j.fields["stage"]; stage != nil {
		j.stage = stage.Value
	}
	if needs := j.fields["needs"]; needs != nil {
		for _, n := range needs.Content {
			job := n
			if n.Kind == yaml.MappingNode {
				job = get(n, "job")
			}
			if job == nil || get(n, "pipeline") != nil || get(n, "project") != nil {
				j.others = append(j.others, n)
			} else {
				j.needs = append(j.needs, job.Value)
			}
		}
	}
	if variables := j.fields["variables"]; variables != nil {
		if h := get(variables, hashVariable); h != nil {
			var err error
			if j.hash, err = buildcache.ParseHash(h.Value); err != nil {
				return nil, fmt.Errorf("job %q: %w", name, err)
			}
		}
	}
	delete(j.fields, "stage")
	delete(j.fields, "needs")
	return j, nil
}

// spreadVariables makes the variables of the first pipeline that has each those of all, and gives the
// builds of others their own where these differ. What is done once for all has those of the first.
func spreadVariables(files []*spackFile) {
	common := map[string]*yaml.Node{}
	for _, f := range files {
		for name, value := range f.variables {
			if common[name] == nil {
				common[name] = value
			}
		}
	}
	if len(common) == 0 {
		return
	}
	for _, f := range files {
		for _, j := range f.jobs {
			if j.hash == "" {
				continue
			}
			own := fieldsOf(j.fields["variables"])
			for name, value := range f.variables {
				if own[name] == nil && textOf(value) != textOf(common[name]) {
					own[name] = value
				}
			}
			j.fields["variables"] = mappingOf(own)
		}
		f.top["variables"] = mappingOf(common)
	}
}

func (s *SpackCI) merge(f *spackFile) error {
	for key, value := range f.top {
		if old := s.top[key]; old != nil && textOf(old) != textOf(value) {
			return fmt.Errorf("its %q is not that of the others: merge what one Spack has generated with one configuration", key)
		}
		s.top[key] = value
	}
	for _, j := range f.jobs {
		old := s.jobs[j.name]
		if old == nil {
			s.jobs[j.name] = j
			continue
		}
		if old.hash != j.hash || j.hash == "" && textOf(mappingOf(old.fields)) != textOf(mappingOf(j.fields)) {
			return fmt.Errorf("its job %q is another one than that of the same name in the others", j.name)
		}
		old.files++
		old.needs = append(old.needs, j.needs...)
		old.rank = max(old.rank, j.rank)
	}
	return nil
}

// leaveOut drops what a mirror has, and what Spack puts in where there is nothing to do.
func (s *SpackCI) leaveOut(has func(buildcache.Hash) bool) {
	for name, j := range s.jobs {
		if j.hash != "" && has != nil && has(j.hash) {
			delete(s.jobs, name)
			s.Cached++
		}
	}
	if s.Builds() > 0 {
		delete(s.jobs, noSpecs)
		return
	}
	clear(s.jobs) // an index of what is there already need not be made anew
}

// order gives each build the earliest stage behind all that it needs, and all others the stages after
// those.
func (s *SpackCI) order() error {
	const open, done = 1, 2
	state := map[string]int{}
	var visit func(j *spackJob) error
	visit = func(j *spackJob) error {
		switch state[j.name] {
		case done:
			return nil
		case open:
			return fmt.Errorf("job %q needs itself", j.name)
		}
		state[j.name] = open
		slices.Sort(j.needs)
		j.needs = slices.DeleteFunc(slices.Compact(j.needs), func(n string) bool { return s.jobs[n] == nil })
		for _, n := range j.needs {
			before := s.jobs[n]
			if err := visit(before); err != nil {
				return err
			}
			j.level = max(j.level, before.level+1)
		}
		state[j.name] = done
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.jobs)) {
		if err := visit(s.jobs[name]); err != nil {
			return err
		}
	}
	for _, j := range s.jobs {
		switch {
		case j.hash != "":
			j.stage = "stage-" + strconv.Itoa(j.level)
		case j.stage == "":
			j.stage = "after"
		}
	}
	return nil
}

// plainCopy is a node without anchors, aliases, comments and style.
func plainCopy(n *yaml.Node) *yaml.Node {
	n = resolve(n)
	c := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				from := resolve(n.Content[i+1])
				if from.Kind == yaml.MappingNode {
					c.Content = append(c.Content, plainCopy(from).Content...)
				}
				continue
			}
			c.Content = append(c.Content, plainCopy(n.Content[i]), plainCopy(n.Content[i+1]))
		}
		return c
	}
	for _, inner := range n.Content {
		c.Content = append(c.Content, plainCopy(inner))
	}
	return c
}

func fieldsOf(m *yaml.Node) map[string]*yaml.Node {
	fields := map[string]*yaml.Node{}
	for i := 0; m != nil && m.Kind == yaml.MappingNode && i+1 < len(m.Content); i += 2 {
		fields[m.Content[i].Value] = m.Content[i+1]
	}
	return fields
}

func mappingOf(fields map[string]*yaml.Node) *yaml.Node {
	var pairs []any
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		pairs = append(pairs, name, fields[name])
	}
	return mapping(pairs...)
}

func textOf(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(n); err != nil {
		return err.Error()
	}
	return b.String()
}
