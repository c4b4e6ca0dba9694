package pipeline

import (
	"cmp"
	"strings"
	"time"
)

// known are packages that take long to build, in minutes on a few cores, as users of Spack know
// them. They only decide what shares a job, so that they need not be exact.
var known = map[string]int{
	"arrow": 15, "boost": 12, "cmake": 10, "cuda": 5, "ffmpeg": 6, "gcc": 75, "gdal": 12, "glib": 3, "go": 8, "hdf5": 5,
	"ispc": 10, "llvm": 90, "llvm-amdgpu": 90, "mesa": 15, "mpich": 10, "mvapich2": 12, "ninja": 2, "node-js": 40, "openblas": 10,
	"openmpi": 12, "openssl": 6, "openvkl": 15, "ospray": 10, "paraview": 90, "perl": 5, "petsc": 15, "py-numba": 5, "py-numpy": 4,
	"py-pandas": 10, "py-scikit-learn": 10, "py-scipy": 12, "py-tensorflow": 180, "py-torch": 120, "python": 6, "qt": 90, "qt-base": 30,
	"rust": 60, "rust-bootstrap": 3, "sqlite": 3, "suite-sparse": 8, "sundials": 6, "trilinos": 90, "ucx": 5, "vtk": 45,
}

// of is the estimate for a package.
func (t Times) of(name string) time.Duration {
	if d, ok := t.Packages[name]; ok {
		return d
	}
	if minutes, ok := known[name]; ok {
		return time.Duration(minutes) * time.Minute
	}
	if t.Package == 0 && (strings.HasPrefix(name, "py-") || strings.HasPrefix(name, "r-") || strings.HasPrefix(name, "perl-")) {
		return 40 * time.Second
	}
	return cmp.Or(t.Package, 2*time.Minute)
}

func (t Times) image() time.Duration { return cmp.Or(t.Image, 10*time.Minute) }
func (t Times) base() time.Duration  { return 15 * time.Minute }
func (t Times) lock() time.Duration  { return 3 * time.Minute }
func (t Times) short() time.Duration { return 3 * time.Minute }
