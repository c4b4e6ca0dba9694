package views

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// versionPart is a number or a word of a version. All else separates them.
var versionPart = regexp.MustCompile(`[0-9]+|[A-Za-z]+`)

// infinite are words that stand for versions newer than any number, the newest
// first, as Spack orders them.
var infinite = []string{"develop", "main", "master", "head", "trunk", "stable"}

// CompareVersions orders versions as Spack does: part by part, numbers above
// words, and names of branches above all numbers.
func CompareVersions(a, b string) int {
	x, y := versionParts(a), versionParts(b)
	for i := range min(len(x), len(y)) {
		if c := compareParts(x[i], y[i]); c != 0 {
			return c
		}
	}
	switch n := min(len(x), len(y)); {
	case len(x) > n && isPrerelease(x[n]):
		return -1
	case len(y) > n && isPrerelease(y[n]):
		return 1
	}
	return cmp.Compare(len(x), len(y))
}

// isPrerelease reports whether a part makes a version older than without it.
func isPrerelease(part string) bool { return part == "alpha" || part == "beta" || part == "rc" }

func versionParts(v string) []string {
	return versionPart.FindAllString(strings.TrimPrefix(v, "="), -1)
}

func compareParts(a, b string) int {
	m, isNumber := number(a)
	n, alsoNumber := number(b)
	switch {
	case isNumber && alsoNumber:
		return cmp.Compare(m, n)
	case rank(a) != rank(b):
		return cmp.Compare(rank(a), rank(b))
	}
	return strings.Compare(a, b)
}

func number(part string) (uint64, bool) {
	n, err := strconv.ParseUint(part, 10, 64)
	return n, err == nil
}

// rank is 0 for words, 1 for numbers, more for the names of branches.
func rank(part string) int {
	for i, name := range infinite {
		if part == name {
			return 2 + len(infinite) - i
		}
	}
	if part[0] >= '0' && part[0] <= '9' {
		return 1
	}
	return 0
}
