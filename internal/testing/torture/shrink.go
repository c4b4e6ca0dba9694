package torture

import (
	"slices"
	"time"
)

// Shrink takes away from a history what it does not need to break the same promise. fails runs one
// and returns the promises that it breaks.
func Shrink(h History, promise string, fails func(History) []Broken) History {
	still := func(next History) bool {
		return slices.ContainsFunc(fails(next), func(b Broken) bool { return b.Promise == promise })
	}
	for changed := true; changed; {
		changed = false
		for size := max(1, len(h.Steps)/2); size > 0; size /= 2 {
			for from := 0; from+size <= len(h.Steps); {
				next := h
				next.Steps = slices.Delete(slices.Clone(h.Steps), from, from+size)
				if still(next) {
					h, changed = next, true
				} else {
					from += size
				}
			}
		}
		for _, simpler := range simplifications {
			if next := h; simpler(&next.Setting) && still(next) {
				h, changed = next, true
			}
		}
		for i := range h.Steps {
			for _, simpler := range stepSimplifications {
				next := h
				next.Steps = slices.Clone(h.Steps)
				if simpler(&next.Steps[i]) && still(next) {
					h, changed = next, true
				}
			}
		}
	}
	return h
}

// Each makes something simpler, and reports whether there was anything to do.
var simplifications = []func(s *Setting) bool{
	func(s *Setting) bool { was := s.Specs; s.Specs = max(4, was/2); return was != s.Specs },
	func(s *Setting) bool { was := s.Repos; s.Repos = 1; return was != 1 },
	func(s *Setting) bool { was := s.Views; s.Views = 0; return was != 0 },
	func(s *Setting) bool { was := s.Signed; s.Signed = false; return was },
	func(s *Setting) bool { was := s.Page; s.Page = 1000; return was != s.Page },
	func(s *Setting) bool { was := s.Batch; s.Batch = 1000; return was != s.Batch },
	func(s *Setting) bool { was := s.Conditions; s.Conditions = ""; return was != "" },
	func(s *Setting) bool { was := s.Skew; s.Skew = 0; return was != 0 },
	func(s *Setting) bool { was := s.Jump; s.Jump, s.JumpAt = 0, 0; return was != 0 },
	func(s *Setting) bool { was := s.Clock; s.Clock = 0; return was != 0 },
	func(s *Setting) bool { was := s.Off; s.Off, s.OffAt, s.OffFor = 0, 0, 0; return was != 0 },
	func(s *Setting) bool { was := s.Rules; s.Rules = Rules{}; return was != Rules{} },
	func(s *Setting) bool { was := s.Rules; s.Rules = Rules{Brake: was.Brake}; return was != s.Rules },
	func(s *Setting) bool { was := s.Rules; s.Rules.Brake = 0; return was != s.Rules },
}

var stepSimplifications = []func(s *Step) bool{
	func(s *Step) bool { was := s.Faults; s.Faults = nil; return was != nil },
	func(s *Step) bool { was := s.Each; s.Each = 0; return was != 0 },
	func(s *Step) bool { was := s.Force; s.Force = false; return was },
	func(s *Step) bool { was := s.Update; s.Update = false; return was },
	func(s *Step) bool { was := s.Die; s.Die = 0; return was != 0 },
	func(s *Step) bool { was := s.Pause; s.Pause = was.Truncate(time.Minute); return was != s.Pause },
}
