package pipeline

import "slices"

// WithoutPackages returns the graph without the packages and indexes of platforms whose packages
// have no place to go to: containers are built together with what is missing for them.
func (g *Graph) WithoutPackages(platforms ...string) (*Graph, error) {
	gone := func(s Step) bool {
		return (s.Kind == Package || s.Kind == Index) && slices.Contains(platforms, s.Platform)
	}
	steps := map[string]*Step{}
	for _, s := range g.Steps {
		if gone(s) {
			continue
		}
		s := s
		inside := map[string]bool{}
		s.Needs = []string{}
		var add func(of Step)
		add = func(of Step) {
			for _, id := range of.Needs {
				switch need, _ := g.Step(id); {
				case !gone(need):
					s.Needs = append(s.Needs, id)
				case !inside[id]:
					inside[id] = true
					s.Seconds += need.Seconds
					add(need)
				}
			}
		}
		add(g.Steps[g.byID[s.ID]])
		slices.Sort(s.Needs)
		s.Needs = slices.Compact(s.Needs)
		if len(inside) > 0 {
			s.Why = append(slices.Clone(s.Why), plural(len(inside), "package")+" are built with it")
		}
		steps[s.ID] = &s
	}
	without := &Graph{UpToDate: g.UpToDate, Cached: g.Cached, Unneeded: g.Unneeded}
	return without, without.order(steps)
}
