package pipeline

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// A PackageJob builds some packages of one platform, one after the other.
type PackageJob struct {
	Name     string // unique in the graph, such as "packages amd64 3: zlib@1.3.1 +4"
	Platform string
	Packages []Step   // dependencies first
	Needs    []int    // places of the jobs that must be done before, without those that follow from others; ascending
	Other    []string // IDs of steps that are no packages and must be done before, such as base images
	Level    int      // 0 where it needs no other job, else one more than the highest of those that it needs
	Seconds  float64  // estimate
}

// Containers returns names of containers of which each package is wanted by at least one: few, so
// that a job reads few lockfiles.
func (j PackageJob) Containers() []string {
	left := slices.Clone(j.Packages)
	var chosen []string
	for len(left) > 0 {
		count := map[string]int{}
		best := ""
		for _, s := range left {
			for _, c := range s.Containers {
				count[c]++
				if best == "" || count[c] > count[best] || count[c] == count[best] && c < best {
					best = c
				}
			}
		}
		chosen = append(chosen, best)
		left = slices.DeleteFunc(left, func(s Step) bool { return slices.Contains(s.Containers, best) })
	}
	slices.Sort(chosen)
	return chosen
}

// Hashes returns the hashes of the packages.
func (j PackageJob) Hashes() []string {
	var hashes []string
	for _, s := range j.Packages {
		hashes = append(hashes, string(s.Hash))
	}
	return hashes
}

// Pack puts each package of a platform into exactly one job. Small ones share a job as long as it
// takes no longer than about the given time; one that takes longer has a job of its own. A job comes
// behind all that it needs.
func Pack(g *Graph, platform string, share time.Duration) []PackageJob {
	p := packer{graph: g, share: share.Seconds(), job: map[string]int{}}
	for _, s := range g.Of(Package, platform) {
		p.place(s)
	}
	arch := platform[strings.LastIndexByte(platform, '/')+1:]
	for i := range p.jobs {
		j := &p.jobs[i]
		first := j.Packages[0]
		j.Name = fmt.Sprintf("packages %s %d: %s@%s", arch, i+1, first.Name, first.Version)
		if more := len(j.Packages) - 1; more > 0 {
			j.Name += fmt.Sprintf(" +%d", more)
		}
	}
	p.reduce()
	return p.jobs
}

// A packer fills jobs. Edges lead from earlier jobs to later ones only, so that no two jobs ever
// wait for each other: a package goes to no job that is earlier than one that has something which it
// needs.
type packer struct {
	graph *Graph
	share float64
	jobs  []PackageJob
	ready []float64      // when a job can begin
	open  []int          // jobs that have room, in order
	job   map[string]int // of a package, by ID
}

func (p *packer) place(s Step) {
	earliest, ready := -1, 0.0
	var other []string
	for _, need := range s.Needs {
		n, ok := p.job[need]
		if !ok {
			other = append(other, need)
			continue
		}
		earliest = max(earliest, n)
		ready = max(ready, p.ready[n]+p.jobs[n].Seconds)
	}
	at := p.room(s, earliest, ready)
	if at < 0 {
		at = len(p.jobs)
		p.jobs = append(p.jobs, PackageJob{Platform: s.Platform})
		p.ready = append(p.ready, ready)
		p.open = append(p.open, at)
	}
	j := &p.jobs[at]
	for _, need := range s.Needs {
		if n, ok := p.job[need]; ok && n != at {
			p.ready[at] = max(p.ready[at], p.ready[n]+p.jobs[n].Seconds)
			j.Needs = append(j.Needs, n)
		}
	}
	j.Packages = append(j.Packages, s)
	j.Seconds += s.Seconds
	j.Other = append(j.Other, other...)
	p.job[s.ID] = at
	if j.Seconds >= p.share {
		p.open = slices.DeleteFunc(p.open, func(n int) bool { return n == at })
	}
}

// room finds the job that a package can share: the one that has what it needs, or else one that can
// begin about when the package could; none is -1.
func (p *packer) room(s Step, earliest int, ready float64) int {
	fits := func(n int) bool { return p.jobs[n].Seconds+s.Seconds <= p.share }
	if earliest >= 0 && slices.Contains(p.open, earliest) && fits(earliest) {
		return earliest
	}
	for _, n := range p.open {
		if n >= earliest && fits(n) && p.ready[n] <= ready+p.share && p.ready[n] >= ready-p.share {
			return n
		}
	}
	return -1
}

// reduce leaves out needs that follow from others, and counts the levels.
func (p *packer) reduce() {
	before := make([]bitset, len(p.jobs))
	for i := range p.jobs {
		j := &p.jobs[i]
		slices.Sort(j.Other)
		j.Other = slices.Compact(j.Other)
		slices.Sort(j.Needs)
		j.Needs = slices.Compact(j.Needs)
		before[i] = newBitset(len(p.jobs))
		var kept []int
		for _, n := range slices.Backward(j.Needs) { // what is before another one is at a lower place
			if !before[i].has(n) {
				kept = append(kept, n)
			}
			before[i].set(n)
			before[i].union(before[n])
			j.Level = max(j.Level, p.jobs[n].Level+1)
		}
		slices.Reverse(kept)
		j.Needs = kept
	}
}

type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+bits.UintSize-1)/bits.UintSize) }
func (b bitset) has(n int) bool { return b[n/64]&(1<<(n%64)) != 0 }
func (b bitset) set(n int)      { b[n/64] |= 1 << (n % 64) }
func (b bitset) union(o bitset) {
	for i, w := range o {
		b[i] |= w
	}
}
