package buildcache

import "strings"

// families maps the beginnings of Spack's targets (microarchitectures of
// archspec) to OCI architectures; whatever begins otherwise is an x86_64.
var families = []struct{ begins, architecture string }{
	{"aarch64", "arm64"}, {"armv8", "arm64"}, {"armv9", "arm64"}, {"a64fx", "arm64"}, {"cortex_", "arm64"},
	{"neoverse_", "arm64"}, {"graviton", "arm64"}, {"thunderx", "arm64"},
	{"m1", "arm64"}, {"m2", "arm64"}, {"m3", "arm64"}, {"m4", "arm64"},
	{"ppc64le", "ppc64le"}, {"power", "ppc64le"}, {"ppc64", "ppc64"}, {"riscv64", "riscv64"}, {"u74mc", "riscv64"},
}

// Architecture is the OCI name of the architecture that a Spack target runs on.
func Architecture(target string) string {
	for _, family := range families {
		if strings.HasPrefix(target, family.begins) {
			return family.architecture
		}
	}
	return "amd64"
}
