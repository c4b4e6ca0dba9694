package pipeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// filesJob hands the files of child pipelines on to the jobs that start them: those read artifacts
// of jobs of their own pipeline only.
const filesJob = "files"

// split spreads jobs over child pipelines: those of packages by platform, one child after the other,
// then containers with their publications and SIFs, beside each other, each as soon as the packages
// that it needs are there.
func (c GitLab) split(jobs []job, packages [][]job) (map[string][]byte, error) {
	s := splitter{GitLab: c, files: map[string][]byte{}, child: map[string]int{}}
	var top, containers []job
	for _, j := range jobs {
		switch {
		case j.kind == Package:
		case j.container != "":
			containers = append(containers, j)
		default:
			top = append(top, j)
		}
	}
	for _, chain := range packages {
		if err := s.packages(chain, len(packages), top); err != nil {
			return nil, err
		}
	}
	if err := s.containers(containers); err != nil {
		return nil, err
	}
	s.files[pipelineFile] = s.render(append([]job{c.filesJob()}, top...), s.triggers...)
	return c.check(s.files)
}

func (c GitLab) filesJob() job {
	return job{name: filesJob, stage: filesStage, lines: [][]string{{"ls", c.Dir}}, artifacts: []string{c.Dir},
		needs: []need{{job: "plan", artifacts: true, pipeline: "$PARENT_PIPELINE_ID"}}}
}

type splitter struct {
	GitLab
	files    map[string][]byte
	triggers []trigger
	child    map[string]int // which child of its platform's chain has a package job, by its name
}

// packages puts the jobs of a platform into children that run one after the other. Needs on jobs in
// earlier children are met when a child starts.
func (s *splitter) packages(jobs []job, chains int, top []job) error {
	platform := jobs[0].platform
	most := max(1, s.Limits.Jobs/chains)
	chunks, err := s.chunk(singles(jobs), most)
	if err != nil {
		return err
	}
	for i, chunk := range chunks {
		t := trigger{name: s.packagesName(platform, i+1), kind: Package, file: fmt.Sprintf("packages-%s-%d.yml", arch(platform), i+1), from: filesJob, dir: s.Dir,
			needs: []need{{job: filesJob}}}
		if i > 0 {
			t.needs = append(t.needs, need{job: s.packagesName(platform, i)})
		}
		for _, b := range top {
			if b.kind == BaseImage && b.platform == platform && i == 0 {
				t.needs = append(t.needs, need{job: b.name})
			}
		}
		for _, j := range chunk {
			s.child[j.name] = i + 1
		}
		s.files[t.file] = s.render(s.within(chunk))
		s.triggers = append(s.triggers, t)
	}
	return nil
}

func (s *splitter) packagesName(platform string, n int) string {
	return fmt.Sprintf("packages %s %d", arch(platform), n)
}

// containers puts all jobs of a container into one child, those first that need the fewest children
// of packages.
func (s *splitter) containers(jobs []job) error {
	groups := map[string][]job{}
	for _, j := range jobs {
		groups[j.container] = append(groups[j.container], j)
	}
	after := map[string]map[string]int{} // children of packages that a container waits for, by platform
	for name, group := range groups {
		after[name] = map[string]int{}
		for _, j := range group {
			for _, n := range j.needs {
				after[name][j.platform] = max(after[name][j.platform], s.child[n.job])
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(sum(after[a]), sum(after[b])), cmp.Compare(a, b))
	})
	var all [][]job
	for _, name := range names {
		all = append(all, groups[name])
	}
	chunks, err := s.chunk(all, s.Limits.Jobs)
	if err != nil {
		return err
	}
	for i, chunk := range chunks {
		t := trigger{name: "containers " + strconv.Itoa(i+1), kind: Image, file: fmt.Sprintf("containers-%d.yml", i+1), from: filesJob, dir: s.Dir, needs: []need{{job: filesJob}}}
		waits := map[string]int{}
		for _, j := range chunk {
			for platform, n := range after[j.container] {
				waits[platform] = max(waits[platform], n)
			}
		}
		for _, platform := range slices.Sorted(maps.Keys(waits)) {
			if waits[platform] > 0 {
				t.needs = append(t.needs, need{job: s.packagesName(platform, waits[platform])})
			}
		}
		s.files[t.file] = s.render(s.within(chunk))
		s.triggers = append(s.triggers, t)
	}
	return nil
}

// within leaves out the needs on jobs of other pipelines.
func (s *splitter) within(jobs []job) []job {
	here := map[string]bool{}
	for _, j := range jobs {
		here[j.name] = true
	}
	var all []job
	for _, j := range jobs {
		j.needs = slices.DeleteFunc(slices.Clone(j.needs), func(n need) bool { return !here[n.job] })
		all = append(all, j)
	}
	return all
}

func singles(jobs []job) (groups [][]job) {
	for _, j := range jobs {
		groups = append(groups, []job{j})
	}
	return groups
}

// chunk makes as few files as the limits allow of groups of jobs, in their order.
func (s *splitter) chunk(groups [][]job, most int) (chunks [][]job, err error) {
	room := s.Limits.Bytes * 9 / 10 // what jobs have in common is a part of each file
	bytes, count := 0, 0
	for _, group := range groups {
		w := 0
		for _, j := range group {
			w += s.weight(j)
		}
		if w > room || len(group) > most {
			return nil, fmt.Errorf("the jobs of %s: %w", group[0].name,
				&LimitError{File: "one pipeline", What: fmt.Sprintf("%d jobs in bytes of YAML", len(group)), Got: int64(w), Most: int64(room)})
		}
		if len(chunks) == 0 || bytes+w > room || count+len(group) > most {
			chunks = append(chunks, nil)
			bytes, count = 0, 0
		}
		bytes, count = bytes+w, count+len(group)
		chunks[len(chunks)-1] = append(chunks[len(chunks)-1], group...)
	}
	return chunks, nil
}

// weight is what a job adds to a file, in bytes of YAML in memory.
func (s *splitter) weight(j job) int {
	m := measure{most: 1 << 40}
	m.node(mapping(j.name, s.jobNode(j, "packages 100", "."+string(j.kind)+" "+arch(j.platform))), 1)
	return m.bytes
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}
