package synth

import (
	"math/rand/v2"
	"strconv"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// The platform of all specs.
const (
	platform    = "linux"
	system      = "debian12"
	target      = "x86_64_v3"
	arch        = platform + "-" + system + "-" + target
	gcc         = "gcc"
	gccVersion  = "12.2.0"
	compilerDir = gcc + "-" + gccVersion
)

// A writer appends JSON in Spack's order of keys, without spaces.
type writer struct {
	Cache
	b    []byte
	list []dep
}

// node appends a spec as indexes, spec files and lockfiles hold it.
func (w *writer) node(i int) {
	w.b = append(w.b, `{"name":"`...)
	w.b = append(w.b, w.Name(i)...)
	w.b = append(w.b, `","version":"`...)
	w.b = append(w.b, w.Version(i)...)
	w.b = append(w.b, `","arch":{"platform":"`+platform+`","platform_os":"`+system+`","target":"`+target+`"}`...)
	if !w.v3() {
		w.b = append(w.b, `,"compiler":{"name":"`+gcc+`","version":"`+gccVersion+`"}`...)
	}
	w.b = append(w.b, `,"namespace":"builtin"`...)
	w.parameters(i)
	if w.External(i) {
		w.b = append(w.b, `,"external":{"path":"/usr","module":null,"extra_attributes":{}}`...)
	}
	w.b = append(w.b, `,"package_hash":"`...)
	w.b = appendBase32(w.b, w.random(i, forPackageHash), 52)
	w.b = append(w.b, `===="`...)
	w.dependencies(i)
	if w.v3() {
		w.b = append(w.b, `,"annotations":{"original_specfile_version":5}`...)
	}
	w.b = append(w.b, `,"hash":"`...)
	w.hash(i)
	w.b = append(w.b, `"}`...)
}

func (w *writer) hash(i int) { w.b = appendBase32(w.b, w.random(i, forHash), 32) }

// parameters makes a record as long as those of public caches are: 1.9 kB.
func (w *writer) parameters(i int) {
	w.b = append(w.b, `,"parameters":{"build_system":"cmake"`...)
	if i >= shared {
		r := rand.New(w.random(i, forParameters))
		for k := range 12 + r.IntN(24) {
			w.b = append(w.b, `,"with_`...)
			w.b = append(w.b, names[k*8%stack]...)
			w.b = append(w.b, `":`...)
			w.b = strconv.AppendBool(w.b, r.IntN(2) == 0)
		}
	}
	w.b = append(w.b, `,"cflags":[],"cppflags":[],"cxxflags":[],"fflags":[],"ldflags":[],"ldlibs":[]}`...)
}

func (w *writer) dependencies(i int) {
	w.list = w.deps(w.list[:0], i)
	if len(w.list) == 0 {
		return
	}
	w.b = append(w.b, `,"dependencies":[`...)
	for n, d := range w.list {
		if n > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, `{"name":"`...)
		w.b = append(w.b, w.Name(d.to)...)
		w.b = append(w.b, `","hash":"`...)
		w.hash(d.to)
		w.b = append(w.b, `","parameters":{"deptypes":[`...)
		w.b = append(w.b, typeNames[d.types]...)
		w.b = append(w.b, `],"virtuals":[`...)
		if d.virtual != "" {
			w.b = append(w.b, `"`+d.virtual+`"`...)
		}
		w.b = append(w.b, `]}}`...)
	}
	w.b = append(w.b, ']')
}

var typeNames = map[buildcache.DepTypes]string{
	buildcache.Build:                   `"build"`,
	buildcache.Link:                    `"link"`,
	buildcache.Run:                     `"run"`,
	buildcache.Build | buildcache.Link: `"build","link"`,
	buildcache.Build | buildcache.Run:  `"build","run"`,
}
