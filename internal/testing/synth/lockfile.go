package synth

import (
	"fmt"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

const anyType = buildcache.Build | buildcache.Link | buildcache.Run

// Lockfile returns the spack.lock of an environment with these roots.
func (c Cache) Lockfile(roots ...int) []byte {
	w := writer{Cache: c}
	version, specfile, spack := 5, 4, "0.23.0"
	if c.v3() {
		version, specfile, spack = 6, 5, "1.2.0.dev0"
	}
	w.b = fmt.Appendf(w.b, `{"_meta":{"file-type":"spack-lockfile","lockfile-version":%d,"specfile-version":%d},`, version, specfile)
	w.b = fmt.Appendf(w.b, `"spack":{"version":%q,"type":"git","commit":"%040x"},"roots":[`, spack, c.Seed)
	for n, i := range roots {
		if n > 0 {
			w.b = append(w.b, ',')
		}
		w.b = fmt.Appendf(w.b, `{"hash":%q,"spec":"%s@%s"}`, c.Hash(i), c.Name(i), c.Version(i))
	}
	w.b = append(w.b, `],"concrete_specs":{`...)
	for n, i := range c.closure(anyType, roots...) {
		if n > 0 {
			w.b = append(w.b, ',')
		}
		w.b = fmt.Appendf(w.b, "%q:", c.Hash(i))
		w.node(i)
	}
	return append(w.b, "}}"...)
}
