package views

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// constraint is a piece of a spec that stands for itself.
var constraint = regexp.MustCompile(`^(?:@(=?[A-Za-z0-9_.:,=-]+)|%([A-Za-z0-9_-]+)(?:@(=?[A-Za-z0-9_.:,-]+))?|([+~-])([A-Za-z0-9_-]+)|([A-Za-z0-9_-]+)==?([^\s+~%@^]+)|/([a-z2-7]+))\s*`)

var specName = regexp.MustCompile(`^(?:[A-Za-z0-9_-]+\.)*([A-Za-z0-9][A-Za-z0-9_-]*)`)

// satisfies reports whether a concrete spec satisfies an abstract one: its
// name, version, variants, compiler, architecture and hash. Dependencies (^)
// and what else a spec can say are an error.
func satisfies(s *buildcache.Spec, abstract string) (bool, error) {
	rest := strings.TrimSpace(abstract)
	ok := true
	if found := specName.FindStringSubmatch(rest); found != nil && !strings.HasPrefix(rest[len(found[0]):], "=") {
		ok = found[1] == s.Name
		rest = strings.TrimSpace(rest[len(found[0]):])
	}
	for rest != "" {
		found := constraint.FindStringSubmatch(rest)
		if found == nil {
			return false, fmt.Errorf("spec %q: %q is not understood here: name, version, variants, compiler, target, os and hash are", abstract, rest)
		}
		rest = rest[len(found[0]):]
		ok = ok && satisfiesOne(s, found)
	}
	return ok, nil
}

func satisfiesOne(s *buildcache.Spec, found []string) bool {
	switch {
	case found[1] != "":
		return inVersions(s.Version, found[1])
	case found[2] != "":
		name, version := compiler(s, found[2])
		return name == found[2] && (found[3] == "" || inVersions(version, found[3]))
	case found[5] != "":
		value, ok := s.Parameters[found[5]].(bool)
		return ok && value == (found[4] == "+")
	case found[8] != "":
		return strings.HasPrefix(string(s.Hash), found[8])
	}
	return hasValue(s, found[6], strings.Trim(found[7], `"'`))
}

// compiler returns the compiler of a spec. Since Spack 1.0 that is a
// dependency, whose version is not in the spec itself.
func compiler(s *buildcache.Spec, wanted string) (name, version string) {
	if name, version, ok := strings.Cut(s.Compiler, "@"); ok {
		return name, version
	}
	for _, d := range s.Dependencies {
		if d.Name == wanted {
			return wanted, ""
		}
	}
	return "", ""
}

func hasValue(s *buildcache.Spec, key, wanted string) bool {
	switch key {
	case "target":
		return slices.Contains(strings.Split(wanted, ","), s.Target)
	case "os":
		return s.OS == wanted
	case "platform":
		return s.Platform == wanted
	case "arch":
		return s.Platform+"-"+s.OS+"-"+s.Target == wanted
	}
	var values []string
	switch v := s.Parameters[key].(type) {
	case string:
		values = []string{v}
	case bool:
		values = []string{fmt.Sprint(v)}
	case []any:
		for _, one := range v {
			values = append(values, fmt.Sprint(one))
		}
	}
	for _, one := range strings.Split(wanted, ",") {
		if one != "*" && !slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, one) }) {
			return false
		}
	}
	return len(values) > 0
}

// inVersions reports whether a version is in a list of versions and ranges. A
// version stands for all that begin with it, one with = for itself.
func inVersions(version, list string) bool {
	for _, one := range strings.Split(list, ",") {
		low, high, isRange := strings.Cut(one, ":")
		exact, isExact := strings.CutPrefix(one, "=")
		switch {
		case isExact:
			if exact == version {
				return true
			}
		case !isRange:
			if beginsWith(version, one) {
				return true
			}
		case (low == "" || CompareVersions(version, low) >= 0) && (high == "" || CompareVersions(version, high) <= 0 || beginsWith(version, high)):
			return true
		}
	}
	return false
}

func beginsWith(version, prefix string) bool {
	v, p := versionParts(version), versionParts(prefix)
	return len(v) >= len(p) && slices.Equal(v[:len(p)], p)
}

var token = regexp.MustCompile(`\{([^{}]*)\}`)

// expand fills in a projection's format.
func expand(format string, s *buildcache.Spec) string {
	return token.ReplaceAllStringFunc(format, func(t string) string {
		value, _ := attribute(strings.Trim(t, "{}"), s)
		return value
	})
}

// attribute returns what a token of a projection stands for; false: that is
// not known here.
func attribute(name string, s *buildcache.Spec) (string, bool) {
	compilerName, compilerVersion, _ := strings.Cut(s.Compiler, "@")
	switch strings.ToLower(name) {
	case "name":
		return s.Name, true
	case "version":
		return s.Version, true
	case "@version":
		return "@" + s.Version, true
	case "namespace":
		return s.Namespace, true
	case "architecture", "arch":
		return s.Platform + "-" + s.OS + "-" + s.Target, true
	case "architecture.platform", "platform":
		return s.Platform, true
	case "architecture.os", "os":
		return s.OS, true
	case "architecture.target", "target":
		return s.Target, true
	case "compiler.name":
		return compilerName, s.Compiler != ""
	case "compiler.version":
		return compilerVersion, s.Compiler != ""
	case "hash":
		return string(s.Hash), true
	}
	var n int
	if _, err := fmt.Sscanf(name, "hash:%d", &n); err == nil && n > 0 && n <= len(s.Hash) {
		return string(s.Hash[:n]), true
	}
	return "", false
}
