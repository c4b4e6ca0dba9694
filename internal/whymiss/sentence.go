package whymiss

import (
	"fmt"
	"strings"
)

// String returns the cause in one sentence: how many specs are built for it, what differs, and from
// which cached spec.
func (c Cause) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s because %s", misses(c.Misses), c.reason())
	if also := c.also(); also != "" {
		fmt.Fprintf(&b, " (also %s)", also)
	}
	if len(c.Nearest) > 0 {
		n := c.Nearest[0]
		fmt.Fprintf(&b, "; nearest is %s", n.Spec)
		if n.Uploaded != "" {
			fmt.Fprintf(&b, " of %s", n.Uploaded)
		}
		if more := len(c.Nearest) - 1; more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
	}
	if c.Alone < c.Misses {
		fmt.Fprintf(&b, "; %d of them for this alone", c.Alone)
	}
	return b.String()
}

func misses(n int) string {
	if n == 1 {
		return "1 package misses"
	}
	return fmt.Sprintf("%d packages miss", n)
}

// subject is whom a cause is about.
func (c Cause) subject() (name string, many bool) {
	if len(c.Specs) > 1 {
		return fmt.Sprintf("%d packages", len(c.Specs)), true
	}
	name, _, _ = strings.Cut(c.Specs[0], "@")
	return name, false
}

func (c Cause) reason() string {
	subject, many := c.subject()
	has, needs := " has ", " needs "
	if many {
		has, needs = " have ", " need "
	}
	d := c.Differences[0]
	switch c.Kind {
	case Unknown:
		if many {
			return "no spec of the names of " + list(c.Specs) + " is cached"
		}
		return "no spec named " + subject + " is cached"
	case NotPushed:
		return "the binary of " + list(c.Specs) + " was never pushed, though an index names it"
	case PackageHash:
		return subject + "'s recipe changed (package hash)"
	case DependsOn, Compiler:
		return subject + strings.TrimSuffix(needs, " ") + instead(d)
	case Variant:
		return subject + has + strings.TrimSpace(instead(d))
	case Unexplained:
		return "the hash of " + subject + " is another one, though nothing that is compared differs"
	}
	return subject + has + d.What + instead(d)
}

// instead says what is wanted, and what is cached instead of it.
func instead(d Difference) string {
	switch {
	case d.Cached == "":
		return " " + d.Wanted + ", which the cached one has not"
	case d.Wanted == "":
		return " no " + d.Cached
	}
	return " " + d.Wanted + " instead of " + d.Cached
}

// also names the other differences.
func (c Cause) also() string {
	var names []string
	for _, d := range c.Differences[1:] {
		names = append(names, d.What)
	}
	return list(names)
}

// list names the first few of many.
func list(names []string) string {
	const most = 4
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
