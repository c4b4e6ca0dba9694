package pipeline

import (
	"cmp"
	"fmt"
	"slices"
)

// order fills the graph with steps, each behind all that it needs, and finds its critical path. The
// same steps have the same order always.
func (g *Graph) order(steps map[string]*Step) error {
	all := make([]*Step, 0, len(steps))
	for _, s := range steps {
		all = append(all, s)
	}
	rank := map[Kind]int{}
	for i, k := range Kinds {
		rank[k] = i
	}
	slices.SortFunc(all, func(a, b *Step) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	g.Steps, g.byID = make([]Step, 0, len(all)), make(map[string]int, len(all))
	const open, done = 1, 2
	state := make(map[string]int, len(all))
	var visit func(s *Step) error
	visit = func(s *Step) error {
		switch state[s.ID] {
		case done:
			return nil
		case open:
			return fmt.Errorf("lockfiles contradict each other: %s needs itself", s.ID)
		}
		state[s.ID] = open
		for _, need := range s.Needs {
			n := steps[need]
			if n == nil {
				return fmt.Errorf("%s needs %s, which no container wants", s.ID, need)
			}
			if err := visit(n); err != nil {
				return err
			}
		}
		state[s.ID] = done
		g.byID[s.ID] = len(g.Steps)
		g.Steps = append(g.Steps, *s)
		return nil
	}
	for _, s := range all {
		if err := visit(s); err != nil {
			return err
		}
	}
	g.critical()
	return nil
}

// critical finds the steps that take longest one after the other.
func (g *Graph) critical() {
	g.Critical = []string{}
	end := make([]float64, len(g.Steps)) // when a step is done at the earliest
	before := make([]int, len(g.Steps))  // the one that it waits for last
	last := -1
	for i, s := range g.Steps {
		before[i] = -1
		for _, need := range s.Needs {
			if n := g.byID[need]; before[i] < 0 || end[n] > end[before[i]] {
				before[i] = n
			}
		}
		end[i] = s.Seconds
		if before[i] >= 0 {
			end[i] += end[before[i]]
		}
		g.Work += s.Seconds
		if last < 0 || end[i] > end[last] {
			last = i
		}
	}
	if last >= 0 {
		g.Seconds = end[last]
	}
	for ; last >= 0; last = before[last] {
		g.Critical = append(g.Critical, g.Steps[last].ID)
	}
	slices.Reverse(g.Critical)
}
