package abstract

import (
	"regexp"
	"strconv"
	"strings"
)

// An Answer is what can be told of a question.
type Answer int

// The answers, the surer No before the surer Yes.
const (
	No Answer = iota
	Maybe
	Yes
)

func answer(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// versionIn reports whether a concrete version is in a list as written behind @.
func versionIn(version, list string) Answer {
	if list == "" || list == ":" {
		return Yes
	}
	best := No
	for _, part := range strings.Split(list, ",") {
		best = max(best, versionInRange(version, part))
	}
	return best
}

func versionInRange(version, part string) Answer {
	if exact, ok := strings.CutPrefix(part, "="); ok && !strings.Contains(part, ":") {
		return answer(version == exact)
	}
	if strings.HasPrefix(part, "git.") || strings.HasPrefix(version, "git.") || strings.Contains(part, "=") || strings.Contains(version, "=") {
		if version == part {
			return Yes
		}
		return Maybe // which version a commit stands for only Spack and the repository know
	}
	low, high, isRange := strings.Cut(part, ":")
	if !isRange {
		low, high = part, part // 1.2 is 1.2.3 too
	}
	have := segments(version)
	result := Yes
	if low != "" {
		result = min(result, notBefore(have, segments(low)))
	}
	if high != "" {
		result = min(result, notBehind(have, segments(high)))
	}
	return result
}

var segment = regexp.MustCompile(`\d+|[a-zA-Z]+`)

func segments(version string) []string { return segment.FindAllString(version, -1) }

// notBefore reports whether a version is at or behind a bound.
func notBefore(version, bound []string) Answer {
	order, sure := compare(version, bound)
	if !sure {
		return Maybe
	}
	return answer(order >= 0)
}

// notBehind reports whether a version is at or before a bound, which includes all that begin with
// it.
func notBehind(version, bound []string) Answer {
	if len(version) > len(bound) {
		version = version[:len(bound)]
	}
	order, sure := compare(version, bound)
	if !sure {
		return Maybe
	}
	return answer(order <= 0)
}

// compare orders versions of numbers. How words and numbers go together is Spack's own, so a
// difference there is not sure.
func compare(a, b []string) (order int, sure bool) {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		x, errA := strconv.ParseUint(a[i], 10, 64)
		y, errB := strconv.ParseUint(b[i], 10, 64)
		if errA != nil || errB != nil {
			return 0, false
		}
		if x != y {
			if x < y {
				return -1, true
			}
			return 1, true
		}
	}
	longer := a
	if len(b) > len(a) {
		longer = b
	}
	for _, s := range longer[min(len(a), len(b)):] {
		if s[0] > '9' { // 1.2rc1 is before 1.2, and 1.2a behind it
			return 0, false
		}
	}
	return len(a) - len(b), true
}
