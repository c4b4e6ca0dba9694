// Package suggest finds the names that a user who mistyped one may have meant.
package suggest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Names returns the known names that resemble name, the nearest first, three
// at most: those that differ in no more than a third of its letters, and those
// that contain it.
func Names(name string, known []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	limit := max(1, len(name)/3)
	for _, k := range known {
		distance := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k))
		if len(name) >= 4 && strings.Contains(strings.ToLower(k), strings.ToLower(name)) {
			distance = min(distance, limit)
		}
		if distance <= limit && distance < len(name) {
			found = append(found, candidate{k, distance})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, c := range found[:min(3, len(found))] {
		if c.distance <= found[0].distance+1 { // one that is much nearer stands alone
			names = append(names, c.name)
		}
	}
	return names
}

// Hint ends a sentence about an unknown name: with the near names, or, where
// none is near, with all that are known.
func Hint(name string, known []string) string {
	if found := Names(name, known); len(found) > 0 {
		return "did you mean " + OneOf(found) + "?"
	}
	if len(known) == 0 {
		return "there are none"
	}
	return "known are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// OneOf quotes names and joins them: "a", "b" or "c".
func OneOf(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}
