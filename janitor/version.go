package janitor

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compareVersions orders versions as Spack does: develop and its like above
// all numbers, numbers above other words, rc before the release that it is a
// candidate of.
func compareVersions(a, b string) int {
	va, pa := splitVersion(a)
	vb, pb := splitVersion(b)
	if c := slices.CompareFunc(va, vb, compareSegments); c != 0 {
		return c
	}
	return slices.Compare(pa, pb)
}

var segments = regexp.MustCompile(`[0-9]+|[a-zA-Z]+`)

// infinite versions stand above all others, in ascending order.
var infinite = []string{"stable", "nightly", "trunk", "head", "master", "main", "develop"}

var prereleases = []string{"alpha", "beta", "rc"}

// splitVersion returns the parts of a version, and how far it is from final:
// one of prereleases with its number, or what stands above them.
func splitVersion(v string) (parts []string, stage []int) {
	if strings.HasPrefix(v, "git.") {
		if _, stands, ok := strings.Cut(v, "="); ok {
			v = stands // git.REF=VERSION counts as the version
		}
	}
	parts = segments.FindAllString(v, -1)
	stage = []int{len(prereleases)}
	if n := len(parts); n > 1 {
		if i := slices.Index(prereleases, parts[n-1]); i >= 0 {
			return parts[:n-1], []int{i}
		}
	}
	if n := len(parts); n > 2 {
		if i := slices.Index(prereleases, parts[n-2]); i >= 0 {
			number, _ := strconv.Atoi(parts[n-1])
			return parts[:n-2], []int{i, number}
		}
	}
	return parts, stage
}

func compareSegments(a, b string) int {
	ia, ib := slices.Index(infinite, a), slices.Index(infinite, b)
	if ia >= 0 || ib >= 0 {
		return cmp.Compare(ia, ib)
	}
	na, nb := isNumber(a), isNumber(b)
	switch {
	case na && nb:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	case na:
		return 1
	case nb:
		return -1
	}
	return strings.Compare(a, b)
}

func isNumber(s string) bool { return s[0] >= '0' && s[0] <= '9' }
