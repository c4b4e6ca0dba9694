// Package near finds the names that somebody who mistyped one may have meant.
package near

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Names returns the known names that resemble name, the nearest first, three
// at most. A name that contains the other, or differs in no more than a third
// of its letters, resembles it.
func Names(name string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	lower := strings.ToLower(name)
	for _, k := range known {
		distance := levenshtein.ComputeDistance(lower, strings.ToLower(k))
		contains := len(lower) >= 3 && strings.Contains(strings.ToLower(k), lower)
		if contains || distance <= max(1, len(name)/3) {
			found = append(found, candidate{k, distance})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range found[:min(3, len(found))] {
		names = append(names, c.name)
	}
	return names
}
