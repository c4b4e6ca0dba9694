package attest

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Subject is the image that a bill is about.
type Subject struct {
	Name    string
	Version string
	Digest  string    // sha256:...
	Created time.Time // of the image
}

// Bills writes bills of materials of an image, in SPDX's and CycloneDX's JSON,
// from the lockfile that it was made from: each package with its version, DAG
// hash and variants, and who needs whom. The same image gives the same bytes.
// Licences are not asserted: neither lockfiles nor build caches know them.
// What the roots need at run time is in the image;
// what was only needed to build is named as such.
func Bills(subject Subject, lock []byte) (spdx, cyclonedx []byte, err error) {
	parsed, err := buildcache.ParseLockfile(lock)
	if err != nil {
		return nil, nil, err
	}
	bill := newBill(subject, parsed)
	if spdx, err = bill.spdx(); err != nil {
		return nil, nil, fmt.Errorf("SPDX: %w", err)
	}
	if cyclonedx, err = bill.cyclonedx(); err != nil {
		return nil, nil, fmt.Errorf("CycloneDX: %w", err)
	}
	return spdx, cyclonedx, nil
}

// A bill is what both formats say.
type bill struct {
	Subject
	specs   []*buildcache.Spec // sorted
	inside  map[buildcache.Hash]bool
	roots   []buildcache.Hash
	creator string
}

func newBill(subject Subject, lock *buildcache.Lockfile) bill {
	b := bill{Subject: subject, inside: map[buildcache.Hash]bool{}, creator: "spack-" + lock.Spack.Version}
	for _, root := range lock.Roots {
		if !slices.Contains(b.roots, root.Hash) {
			b.roots = append(b.roots, root.Hash)
		}
	}
	for _, spec := range lock.Closure(b.roots, buildcache.Runtime) {
		b.inside[spec.Hash] = true
	}
	b.specs = slices.SortedFunc(maps.Values(lock.Specs), func(a, b *buildcache.Spec) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Hash, b.Hash))
	})
	return b
}

// needs lists what a spec needs by any of some kinds of edges, sorted.
func needs(spec *buildcache.Spec, types buildcache.DepTypes) []buildcache.Hash {
	var hashes []buildcache.Hash
	for _, d := range spec.Dependencies {
		if d.Types&types != 0 {
			hashes = append(hashes, d.Hash)
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// purl is a package URL. The registered types know no Spack; generic is what
// scanners read.
func purl(spec *buildcache.Spec) string {
	return "pkg:generic/" + url.PathEscape(spec.Name) + "@" + url.PathEscape(spec.Version) + "?spack_hash=" + string(spec.Hash)
}

// Variants writes a spec's variants and flags as Spack does: +shared ~tls
// build_system=cmake.
func Variants(spec *buildcache.Spec) string {
	var switches, values []string
	for _, name := range slices.Sorted(maps.Keys(spec.Parameters)) {
		switch value := spec.Parameters[name].(type) {
		case bool:
			if value {
				switches = append(switches, "+"+name)
			} else {
				switches = append(switches, "~"+name)
			}
		case []any:
			if len(value) > 0 { // compiler flags are mostly empty
				var words []string
				for _, word := range value {
					words = append(words, fmt.Sprint(word))
				}
				values = append(values, name+"="+strings.Join(words, ","))
			}
		default:
			values = append(values, fmt.Sprintf("%s=%v", name, value))
		}
	}
	return strings.Join(append(switches, values...), " ")
}
