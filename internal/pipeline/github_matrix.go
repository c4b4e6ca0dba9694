package pipeline

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// GitHub's limits on what a job may hand to others.
const (
	maxLegs   = 256     // of one matrix
	maxOutput = 1 << 20 // bytes of one job's outputs
)

// A leg is what one job of a matrix gets. All values are text, since expressions compare those best.
type leg struct {
	Name      string `json:"name"`                // for people
	Container string `json:"container,omitempty"` // or several, by commas
	Platform  string `json:"platform,omitempty"`
	Runner    string `json:"runner,omitempty"` // labels as a list in JSON, in which {0} and {1} are the run and its attempt
	Hashes    string `json:"hashes,omitempty"` // of packages, by commas
	Base      string `json:"base,omitempty"`   // names of base images, by commas
	File      string `json:"file,omitempty"`   // true: of an Apptainer definition file, for which there is no image
}

// An Output is a value that the plan job of a workflow hands to the other jobs: a matrix as JSON,
// or nothing where the job that takes it has nothing to do.
type Output struct{ Name, Value string }

// Outputs turns the graph into the matrices of the workflows that GitHub writes with the same
// options. More containers than these were written for are an error.
//
// Packages that two or more containers miss come first, in waves: each once, and never in a wave
// before that of what it needs, or in the same wave only if in the same job. All other packages are
// built by the one container that wants them.
func (h GitHub) Outputs(g *Graph) ([]Output, error) {
	outputs := []Output{}
	for i, legs := range h.packageLegs(g) {
		outputs = append(outputs, Output{fmt.Sprintf("packages-%d", i+1), matrixOf(legs)})
	}
	all := []struct {
		name string
		legs []leg
	}{{"containers", h.containerLegs(g)}, {"publish", h.publishLegs(g)}, {"sifs", h.sifLegs(g)}}
	for _, m := range all {
		chunks := h.chunks()
		if len(m.legs) > chunks*maxLegs {
			return nil, fmt.Errorf("%s: %d jobs, and the workflows were written for %d: write them anew by mage ci:github", m.name, len(m.legs), chunks*maxLegs)
		}
		for i := range chunks {
			part := m.legs[min(i*maxLegs, len(m.legs)):min((i+1)*maxLegs, len(m.legs))]
			outputs = append(outputs, Output{fmt.Sprintf("%s-%d", m.name, i+1), matrixOf(part)})
		}
	}
	outputs = append(outputs, Output{"bases", matrixOf(h.baseLegs(g))}, Output{"index", strconv.FormatBool(len(g.Of(Index, "")) > 0)})
	size := 0
	for _, o := range outputs {
		size += len(o.Name) + len(o.Value) + 2
	}
	if size > maxOutput {
		return nil, fmt.Errorf("the plan has %d bytes, and a job of GitHub hands over %d at most: build some of the containers first, by workflow_dispatch", size, maxOutput)
	}
	return outputs, nil
}

// WriteOutputs writes outputs as a job hands them over: to the file that GITHUB_OUTPUT names.
func WriteOutputs(w io.Writer, outputs []Output) error {
	for _, o := range outputs {
		if strings.ContainsAny(o.Value, "\r\n") {
			return errors.New("an output has several lines")
		}
		if _, err := fmt.Fprintf(w, "%s=%s\n", o.Name, o.Value); err != nil {
			return err
		}
	}
	return nil
}

func matrixOf(legs []leg) string {
	if len(legs) == 0 {
		return ""
	}
	text, err := json.Marshal(map[string][]leg{"include": legs})
	if err != nil {
		panic(err) // text is always JSON
	}
	return string(text)
}

// packageLegs returns the jobs of each wave.
func (h GitHub) packageLegs(g *Graph) [][]leg {
	waves := make([][]leg, h.waves())
	for i, steps := range g.packageWaves(h.waves()) {
		for _, job := range packed(connected(steps), maxLegs) {
			waves[i] = append(waves[i], h.packageLeg(job))
		}
	}
	return waves
}

func (h GitHub) packageLeg(steps []Step) leg {
	var containers, hashes []string
	for _, s := range steps {
		hashes = append(hashes, string(s.Hash))
		if !slices.ContainsFunc(s.Containers, func(c string) bool { return slices.Contains(containers, c) }) {
			containers = append(containers, s.Containers[0])
		}
	}
	name := steps[len(steps)-1].Name
	if len(steps) > 1 {
		name = fmt.Sprintf("%s and %d more", name, len(steps)-1)
	}
	platform := steps[0].Platform
	return leg{Name: name + " for " + platform, Container: strings.Join(containers, ","), Platform: platform,
		Runner: h.runner(platform, "package-"+string(steps[0].Hash)), Hashes: strings.Join(hashes, ",")}
}

// containerLegs are for all platforms of each container that is to be published, since one index
// names them all.
func (h GitHub) containerLegs(g *Graph) []leg {
	var legs []leg
	for _, name := range namesOf(g, Image) {
		platforms := h.Containers[name]
		if !h.Publish || len(platforms) == 0 {
			platforms = nil
			for _, s := range g.Of(Image, "") {
				if s.Name == name {
					platforms = append(platforms, s.Platform)
				}
			}
		}
		for _, platform := range platforms {
			legs = append(legs, leg{Name: name + " for " + platform, Container: name, Platform: platform, Runner: h.runner(platform, name)})
		}
	}
	return legs
}

func (h GitHub) publishLegs(g *Graph) []leg {
	var legs []leg
	for _, name := range namesOf(g, Publication) {
		legs = append(legs, leg{Name: name, Container: name})
	}
	return legs
}

func (h GitHub) sifLegs(g *Graph) []leg {
	var legs []leg
	for _, s := range g.Of(SIF, "") {
		l := leg{Name: s.Name + " for " + s.Platform, Container: s.Name, Platform: s.Platform, Runner: h.runner(s.Platform, "sif-"+s.Name)}
		if s.FromFile() {
			l.File = "true"
		}
		legs = append(legs, l)
	}
	return legs
}

func (h GitHub) baseLegs(g *Graph) []leg {
	var legs []leg
	for _, platform := range g.Platforms() {
		var names []string
		for _, s := range g.Of(BaseImage, platform) {
			names = append(names, s.Name)
		}
		if len(names) > 0 {
			legs = append(legs, leg{Name: strings.Join(names, ", ") + " for " + platform, Platform: platform, Base: strings.Join(names, ","), Runner: h.runner(platform, "base")})
		}
	}
	return legs
}

// namesOf are those of the steps of a kind, each once.
func namesOf(g *Graph, kind Kind) []string {
	names := map[string]bool{}
	for _, s := range g.Of(kind, "") {
		names[s.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// packageWaves puts the packages that two or more containers miss into so many waves at most, with
// about the same work in each: none is in an earlier wave than what it needs.
func (g *Graph) packageWaves(n int) [][]Step {
	depth := map[string]int{}
	work := []float64{} // by depth
	var shared []Step
	for _, s := range g.Of(Package, "") { // each behind what it needs
		if !s.Shared() {
			continue
		}
		d := 0
		for _, need := range s.Needs {
			if at, ok := depth[need]; ok {
				d = max(d, at+1)
			}
		}
		depth[s.ID] = d
		if d == len(work) {
			work = append(work, 0)
		}
		work[d] += s.Seconds
		shared = append(shared, s)
	}
	waveOf := balanced(work, n)
	waves := make([][]Step, n)
	for _, s := range shared {
		w := waveOf[depth[s.ID]]
		waves[w] = append(waves[w], s)
	}
	return waves
}

// balanced cuts a row of amounts into n parts of about the same sum, and returns the part of each.
// Where there are no more than n each is a part of its own.
func balanced(amounts []float64, n int) []int {
	total, sum, part := 0.0, 0.0, 0
	for _, a := range amounts {
		total += a
	}
	parts := make([]int, len(amounts))
	for i, a := range amounts {
		if i > 0 && len(amounts) <= n || part < n-1 && i > 0 && sum+a/2 > total*float64(part+1)/float64(n) {
			part++
		}
		parts[i] = part
		sum += a
	}
	return parts
}

// connected groups steps that need each other, directly or not: each group is for one platform and
// in the order of steps.
func connected(steps []Step) [][]Step {
	root := map[string]string{}
	var find func(string) string
	find = func(id string) string {
		if root[id] != id {
			root[id] = find(root[id])
		}
		return root[id]
	}
	for _, s := range steps {
		root[s.ID] = s.ID
	}
	for _, s := range steps {
		for _, need := range s.Needs {
			if _, here := root[need]; here {
				root[find(s.ID)] = find(need)
			}
		}
	}
	at := map[string]int{}
	var groups [][]Step
	for _, s := range steps {
		r := find(s.ID)
		if _, ok := at[r]; !ok {
			at[r] = len(groups)
			groups = append(groups, nil)
		}
		groups[at[r]] = append(groups[at[r]], s)
	}
	return groups
}

// enough is how many seconds of work are worth a job of their own: less shares one with others.
const enough = 20 * 60

// packed puts groups into at most so many jobs: small ones share a job with others of their
// platform, for as long as that leaves it no longer than is worth a job, or longer where there
// would be too many.
func packed(groups [][]Step, limit int) [][]Step {
	for worth := float64(enough); ; worth *= 2 {
		jobs := packedFor(groups, worth)
		if len(jobs) <= limit {
			return jobs
		}
	}
}

func packedFor(groups [][]Step, worth float64) [][]Step {
	byWork := slices.Clone(groups)
	slices.SortStableFunc(byWork, func(a, b []Step) int { return cmp.Compare(workOf(b), workOf(a)) })
	var jobs [][]Step
	open := map[string]int{} // the job of a platform that still has room
	for _, group := range byWork {
		platform := group[0].Platform
		at, ok := open[platform]
		if ok && workOf(jobs[at])+workOf(group) <= worth {
			jobs[at] = append(jobs[at], group...)
			continue
		}
		open[platform] = len(jobs)
		jobs = append(jobs, slices.Clone(group))
	}
	return jobs
}

func workOf(steps []Step) (seconds float64) {
	for _, s := range steps {
		seconds += s.Seconds
	}
	return seconds
}
