package command

import (
	"slices"
	"strings"
)

// environment returns the variables, NAME=value, that a program gets: all, or those whose names do not say that they hold
// secrets, or paths of secrets.
func environment(all []string, clean bool) []string {
	if !clean {
		return all
	}
	return slices.DeleteFunc(all, func(assignment string) bool {
		name, _, _ := strings.Cut(assignment, "=")
		return secretName.MatchString(name)
	})
}
