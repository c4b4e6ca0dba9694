package buildcache

import (
	"regexp"
	"strings"
)

// KeyHash returns the hash in the key of a tarball or spec file (v2) or of a
// spec manifest (v3). It goes by the end of the key: names and versions may
// hold what looks like a hash.
func KeyHash(key string) (Hash, bool) {
	for _, suffix := range [...]string{".spack", ".spec.json", ".spec.json.sig", ".spec.manifest.json"} {
		stem, ok := strings.CutSuffix(key, suffix)
		if at := len(stem) - hashLen; ok && at > 0 && stem[at-1] == '-' {
			if hash, err := ParseHash(stem[at:]); err == nil {
				return hash, true
			}
		}
	}
	return "", false
}

// SpecKeys returns where Spack puts a spec's spec files (v2), in the order in
// which it looks for them, or its manifest (v3). It need not lie there.
func SpecKeys(s *Spec, layout int) []string {
	if layout == 3 {
		return []string{manifestKey(s, s.Hash)}
	}
	var keys []string
	for _, suffix := range specSuffixes {
		keys = append(keys, "build_cache/"+v2Stem(s, s.Hash)+suffix)
	}
	return keys
}

// TarballKey returns where Spack puts a spec's tarball in v2.
func TarballKey(s *Spec) string { return v2Tarball(s, s.Hash) }

var impolite = regexp.MustCompile(`[^A-Za-z0-9_+.-]`)

// polite replaces what Spack replaces in parts of a path, such as the = in a
// version git.main=1.0.
func polite(s string) string { return impolite.ReplaceAllString(s, "_") }

// The keys below are where Spack puts things. No caller relies on them alone:
// what is not found there is looked for by its hash.

func manifestFolder(s *Spec) string { return "v3/manifests/spec/" + polite(s.Name) + "/" }

func manifestKey(s *Spec, hash Hash) string {
	return manifestFolder(s) + polite(s.Name+"-"+s.Version) + "-" + string(hash) + ".spec.manifest.json"
}

// v2Stem is common to the names of the spec file and the tarball in v2.
func v2Stem(s *Spec, hash Hash) string {
	return v2Arch(s) + "-" + v2Compiler(s) + "-" + polite(s.Name+"-"+s.Version) + "-" + string(hash)
}

func v2Tarball(s *Spec, hash Hash) string {
	return strings.Join([]string{"build_cache", v2Arch(s), v2Compiler(s), polite(s.Name + "-" + s.Version), v2Stem(s, hash) + ".spack"}, "/")
}

func v2Arch(s *Spec) string { return polite(s.Platform + "-" + s.OS + "-" + s.Target) }

func v2Compiler(s *Spec) string { return polite(strings.Replace(s.Compiler, "@", "-", 1)) }
