package ui

import (
	"fmt"
	"strings"
)

// shownSubjects is how many of the subjects of one cause are named.
const shownSubjects = 3

// Failures returns the text of an error. Of errors that were joined and have one cause, as in
// "SUBJECT: CAUSE", the cause is told once, for the first subjects and the number of the others.
// Their order is that of the first of each.
func Failures(err error) string {
	type failure struct {
		cause    string
		subjects []string
	}
	var all []*failure
	of := map[string]*failure{}
	for _, text := range separate(err) {
		subject, cause, ok := strings.Cut(text, ": ")
		if !ok {
			subject, cause = "", text
		}
		f := of[cause]
		if f == nil {
			f = &failure{cause: cause}
			of[cause] = f
			all = append(all, f)
		}
		f.subjects = append(f.subjects, subject)
	}
	lines := make([]string, len(all))
	for i, f := range all {
		lines[i] = f.cause
		if subjects := named(f.subjects); subjects != "" {
			lines[i] = subjects + ": " + f.cause
		}
	}
	return strings.Join(lines, "\n")
}

// separate returns the texts of joined errors, or that of the one.
func separate(err error) (texts []string) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var lines []string
	for _, e := range joined.Unwrap() {
		lines = append(lines, e.Error())
		texts = append(texts, separate(e)...)
	}
	if strings.Join(lines, "\n") != err.Error() { // it says more than what it wraps
		return []string{err.Error()}
	}
	return texts
}

func named(subjects []string) string {
	var names []string
	seen := map[string]bool{}
	for _, s := range subjects {
		if s != "" && !seen[s] {
			seen[s] = true
			names = append(names, s)
		}
	}
	return Some(names)
}

// Some names the first of several things, and says how many more there are.
func Some(names []string) string {
	if n := len(names) - shownSubjects; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shownSubjects], ", "), n)
	}
	return strings.Join(names, ", ")
}
