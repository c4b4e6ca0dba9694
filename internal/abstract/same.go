package abstract

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Canonical returns a spelling that is the same for all texts that ask for the same: variants,
// versions and dependencies in order, each once.
func (s Spec) Canonical() string {
	var deps []string
	for _, d := range s.Dependencies {
		sigil := "^"
		if d.Direct {
			sigil = "%"
		}
		virtuals := slices.Sorted(slices.Values(d.Virtuals))
		deps = append(deps, fmt.Sprintf("%s[%s %s]%s", sigil, strings.Join(virtuals, ","), d.Properties, d.Spec.Canonical()))
	}
	slices.Sort(deps)
	return s.Node.canonical() + strings.Join(slices.Compact(deps), " ")
}

func (n Node) canonical() string {
	variants := make([]string, 0, len(n.Variants))
	for _, v := range n.Variants {
		values := strings.Split(v.Value, ",")
		if strings.ContainsAny(v.Value, " \t") { // a compiler's flags keep their order
			values = []string{strings.Join(strings.Fields(v.Value), " ")}
		}
		slices.Sort(values)
		variants = append(variants, fmt.Sprintf("%s=%q %t %t", v.Key, strings.Join(slices.Compact(values), ","), v.Propagate, v.Exact))
	}
	slices.Sort(variants)
	return fmt.Sprintf("%s.%s@%s %s /%s ", n.Namespace, n.Name, canonicalVersions(n.Versions), strings.Join(slices.Compact(variants), " "), n.Hash)
}

// canonicalVersions sorts a list of versions, without order of its own and with 2.0:2.0 as 2.0.
func canonicalVersions(list string) string {
	if list == ":" { // any
		list = ""
	}
	parts := strings.Split(list, ",")
	for i, part := range parts {
		if low, high, ok := strings.Cut(part, ":"); ok && low == high && low != "" {
			parts[i] = low
		}
	}
	slices.SortFunc(parts, func(a, b string) int { return cmp.Compare(a, b) })
	return strings.Join(slices.Compact(parts), ",")
}

// Same reports whether two specs ask for the same.
func Same(a, b Spec) bool { return a.Canonical() == b.Canonical() }

// Constrain returns a spec that asks for all that both ask for, as a matrix puts its rows together.
// Ok is false where that cannot be said without knowing what versions there are.
func (s Spec) Constrain(t Spec) (both Spec, ok bool) {
	both, ok = s, true
	if both.Name == "" {
		both.Namespace, both.Name = t.Namespace, t.Name
	}
	switch {
	case both.Versions == "":
		both.Versions = t.Versions
	case t.Versions != "" && t.Versions != both.Versions:
		ok = false
	}
	if both.Hash == "" {
		both.Hash = t.Hash
	}
	both.Variants = slices.Concat(s.Variants, t.Variants)
	both.Dependencies = slices.Clone(s.Dependencies)
	for _, d := range t.Dependencies {
		at := slices.IndexFunc(both.Dependencies, func(o Dependency) bool {
			return o.Direct == d.Direct && o.Spec.Name == d.Spec.Name && o.Properties == d.Properties && slices.Equal(o.Virtuals, d.Virtuals)
		})
		if at < 0 {
			both.Dependencies = append(both.Dependencies, d)
			continue
		}
		var sure bool
		both.Dependencies[at].Spec, sure = both.Dependencies[at].Spec.Constrain(d.Spec)
		ok = ok && sure
	}
	return both, ok
}

// Includes reports whether every package that s describes is one that t describes, by their texts
// alone.
func (s Spec) Includes(t Spec) Answer {
	result := Yes
	switch {
	case t.Name != "" && s.Name != t.Name, t.Namespace != "" && s.Namespace != t.Namespace, t.Hash != "" && s.Hash != t.Hash:
		return No
	case t.Versions != "" && canonicalVersions(s.Versions) != canonicalVersions(t.Versions):
		if s.Versions == "" {
			return No
		}
		result = Maybe
	}
	for _, v := range t.Variants {
		if !slices.ContainsFunc(s.Variants, func(o Variant) bool { return o.Key == v.Key && o.Value == v.Value }) {
			return No
		}
	}
	for _, d := range t.Dependencies {
		best := No
		for _, o := range s.Dependencies {
			if o.Direct == d.Direct {
				best = max(best, o.Spec.Includes(d.Spec))
			}
		}
		result = min(result, best)
	}
	return result
}
