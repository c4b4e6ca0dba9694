package command

import (
	"slices"
	"strings"
)

// environment returns the variables, NAME=value, that a program gets: all, or those whose names do
// not say that they hold secrets, or paths of secrets, and those that begin with what is to be
// kept.
func environment(all []string, clean bool, keep []string) []string {
	if !clean {
		return all
	}
	return slices.DeleteFunc(all, func(assignment string) bool {
		name, _, _ := strings.Cut(assignment, "=")
		kept := slices.ContainsFunc(keep, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		return secretName.MatchString(name) && !kept
	})
}
