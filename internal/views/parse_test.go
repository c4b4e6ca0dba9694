package views

import (
	"reflect"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestViewsAreReadFromSpackYAML(t *testing.T) {
	at := func(root string, change func(*View)) View {
		v := Default(root)
		if change != nil {
			change(&v)
		}
		return v
	}
	for name, test := range map[string]struct {
		text string
		want []View
	}{
		"nothing":  {"", []View{at("/opt/view", nil)}},
		"true":     {"view: true", []View{at("/opt/view", nil)}},
		"false":    {"view: false", nil},
		"a path":   {"view: /opt/x/", []View{at("/opt/x", nil)}},
		"relative": {"view: here", []View{at("/opt/spack-environment/here", nil)}},
		"all of it": {`view:
    default: {root: /opt/view, link: run, select: [py-x, '@1.2:'], exclude: ['%gcc@8', ~mpi], projections: {zlib: '{name}/{version}', all: '{hash:7}'}, link_type: soft}
    tools: {root: /opt/tools, link: roots, link_dirs: false, group: [tools]}
    one: {root: /opt/one, link_type: relocate}
    two: {root: /opt/two, link_type: hard}`,
			[]View{at("/opt/view", func(v *View) {
				v.Link, v.Select, v.Exclude = Run, []string{"py-x", "@1.2:"}, []string{"%gcc@8", "~mpi"}
				v.Projections = []Projection{{"zlib", "{name}/{version}"}, {"all", "{hash:7}"}}
			}), at("/opt/tools", func(v *View) { v.Name, v.Link, v.LinkDirs, v.Groups = "tools", Roots, false, []string{"tools"} }),
				at("/opt/one", func(v *View) { v.Name, v.LinkType = "one", Copies }), at("/opt/two", func(v *View) { v.Name, v.LinkType = "two", Hardlinks })}},
	} {
		got, err := Parse([]byte("spack:\n  specs: [x]\n  "+test.text+"\n"), "/opt/view")
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, test.want)
		}
	}
}

func TestViewsThatAnImageCannotHaveAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"{a: {root: /opt/view, link_type: x}}":                      "link_type \"x\": symlink, copy or hardlink",
		"{a: {root: /opt/view, link: some}}":                        "link",
		"{a: {link: all}}":                                          "needs a root",
		"{a: {root: $HOME/view}}":                                   "variables",
		"{a: {root: /}}":                                            "folder of its own",
		"{a: {root: ../../etc}}":                                    "folder of its own",
		"{a: {root: /opt/view}, b: {root: /opt/view/b}}":            "one in the other",
		"{a: {root: /opt/view, exclude: [x ^^y]}}":                  "^y",
		"{a: {root: /opt/view, projections: {all: '{^mpi.name}'}}}": "^mpi.name",
		"[a]":            "mapping",
		"{a: /opt/view}": "view a: a mapping, such as {root: /opt/view}",
		"{a: {root: /opt/view, projections: {'x ^y': '{name}'}}}":      "^y",
		"{a: {root: /opt/view, select: {x: y}}}":                       "view a",
		"{a: {root: \"/opt/\\nview\"}}":                                "variables",
		"{a: {root: /opt/view, projections: {all: '{variants.mpi}'}}}": "variants.mpi",
	} {
		if got, err := Parse([]byte("spack:\n  view: "+text+"\n"), "/opt/view"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestSpecsAreMatched(t *testing.T) {
	s := &buildcache.Spec{Name: "hdf5", Version: "1.14.3", Hash: "abcdefg", Compiler: "gcc@12.2.0", Platform: "linux", OS: "debian12", Target: "x86_64_v3",
		Parameters: map[string]any{"mpi": true, "fortran": false, "api": "v18", "parts": []any{"one", "two"}}}
	for spec, want := range map[string]bool{
		"hdf5": true, "builtin.hdf5": true, "hdf": false, "hdf5@1.14": true, "hdf5@1.1": false, "hdf5@1.14.3": true, "hdf5@=1.14": false, "hdf5@=1.14.3": true,
		"hdf5@1.10:": true, "hdf5@:1.14": true, "hdf5@:1.13": false, "hdf5@1.15:": false, "hdf5@1.2,1.14": true, "@1.14.3:1.14.9": true,
		"hdf5+mpi": true, "hdf5~mpi": false, "hdf5 ~fortran": true, "hdf5+nothing": false, "+mpi": true, "api=v18": true, "hdf5 api=v110": false, "parts=two": true, "parts=one,two": true, "parts=three": false,
		"%gcc": true, "%gcc@12": true, "%gcc@11": false, "%clang": false, "hdf5@1.14%gcc@12:+mpi": true, "target=x86_64_v3": true, "os=ubuntu": false, "/abc": true, "/b": false, "mpi=true": true,
	} {
		if got, err := satisfies(s, spec); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", spec, got, err, want)
		}
	}
	if _, err := satisfies(s, "hdf5 ^zlib"); err == nil {
		t.Error("a dependency was taken for understood")
	}
}

func TestVersionsAreComparedAsSpackDoes(t *testing.T) {
	sorted := []string{"1.0alpha", "1.0", "1.0.1", "1.2", "1.10", "2", "12.2.0", "20230101", "stable", "master", "main", "develop"}
	for i, a := range sorted[1:] {
		if CompareVersions(sorted[i], a) >= 0 || CompareVersions(a, sorted[i]) <= 0 || CompareVersions(a, a) != 0 {
			t.Errorf("%s and %s", sorted[i], a)
		}
	}
}
