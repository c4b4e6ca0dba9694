package container

import (
	"cmp"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// A Change is an input of a container that is not what the existing image was made from.
type Change struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	Old  string `json:"old,omitempty"` // empty: it is new
	New  string `json:"new,omitempty"` // empty: it is gone
}

func (c Change) String() string {
	what := c.Kind
	if c.Name != "" {
		what += " " + c.Name
	}
	switch {
	case c.Old == "":
		return what + " is new"
	case c.New == "":
		return what + " is gone"
	case c.Kind == "file":
		return what + " changed"
	}
	return what + ": " + short(c.Old) + " → " + short(c.New)
}

// short shows the beginning of a long digest.
func short(s string) string {
	const most = 24
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Compare lists the inputs in which two builds differ. Two files of the same name are the same
// input.
func Compare(before, after []image.Input) []Change {
	type key struct{ kind, name string }
	found := map[key]*Change{}
	at := func(in image.Input) *Change {
		k := key{in.Kind, in.Name}
		if found[k] == nil {
			found[k] = &Change{Kind: in.Kind, Name: in.Name}
		}
		return found[k]
	}
	for _, in := range before {
		at(in).Old = in.Digest
	}
	for _, in := range after {
		at(in).New = in.Digest
	}
	var changes []Change
	for _, c := range found {
		if c.Old != c.New && !c.follows() {
			changes = append(changes, *c)
		}
	}
	changes = withoutSummaries(changes)
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return changes
}

// follows reports whether a spec has only another hash. A change far below gives one to each of its
// dependents, of which the roots are named.
func (c Change) follows() bool {
	before, _, ok := strings.Cut(c.Old, "/")
	after, _, _ := strings.Cut(c.New, "/")
	return c.Kind == specKind && ok && before == after
}

// withoutSummaries drops the digest of a whole where one of its parts is named.
func withoutSummaries(changes []Change) []Change {
	named := map[string]bool{}
	for _, c := range changes {
		named[c.Kind] = true
	}
	return slices.DeleteFunc(changes, func(c Change) bool {
		switch c.Kind {
		case "dag":
			return named["root"] || named[specKind]
		case "environment":
			return named["file"] || named["target"]
		}
		return false
	})
}
