package views

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// pkg is a package with files: NAME/ is a folder, NAME -> TARGET a link, NAME!
// a script.
func pkg(name string, files ...string) Package {
	p := Package{Spec: &buildcache.Spec{Name: name, Version: "1", Hash: buildcache.Hash(name)}, Prefix: "/opt/software/" + name}
	for _, f := range files {
		path, target, isLink := strings.Cut(f, " -> ")
		file := File{Path: strings.TrimRight(path, "/!")}
		switch {
		case isLink:
			file.Kind, file.Link = Symlink, target
		case strings.HasSuffix(path, "/"):
			file.Kind = Dir
		case strings.HasSuffix(path, "!"):
			file.Run, file.Bang = true, true
		}
		p.Files = append(p.Files, file)
	}
	return p
}

// lines shows the entries of a view, metadata and folders left out.
func lines(r Result) []string {
	var out []string
	for _, e := range r.Entries {
		switch {
		case strings.HasPrefix(e.Path, ".spack") || e.Kind == Dir:
		case e.Kind == Symlink:
			out = append(out, e.Path+" -> "+e.Link)
		case e.Source != "":
			out = append(out, fmt.Sprintf("%s = %s (%s: %s)", e.Path, e.Source, e.From, e.To))
		default:
			out = append(out, e.Path+" = "+string(e.Text))
		}
	}
	return out
}

func mustMake(t *testing.T, v View, version string, packages ...Package) Result {
	t.Helper()
	r, err := v.Make(version, packages)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, r Result, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := lines(r); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheFirstOfTwoFilesIsInTheViewAndTheOtherIsReported(t *testing.T) {
	for _, version := range []string{"0.21.0", "0.23.1", "1.1.0", "1.3.0"} {
		r := mustMake(t, Default("/opt/view"), version, pkg("app", "bin/", "bin/tool", "etc/", "etc/x"), pkg("lib", "bin/", "bin/tool", "bin/more", "etc/", "etc/x"))
		want(t, r, "bin/tool -> /opt/software/app/bin/tool", "bin/more -> /opt/software/lib/bin/more", "etc/x -> /opt/software/app/etc/x")
		if len(r.Conflicts) != 1 || r.Conflicts[0].Kept.Name != "app" || r.Conflicts[0].Dropped.Name != "lib" || !slices.Equal(r.Conflicts[0].Paths, []string{"bin/tool", "etc/x"}) {
			t.Errorf("%s: conflicts %v", version, r.Conflicts)
		}
	}
}

// Of a link and the file that it leads to the file is better, whichever comes
// first; python-venv's bin/python3.11 leads to python's.
func TestALinkGivesWayToTheFileThatItLeadsTo(t *testing.T) {
	link, file := pkg("venv", "bin/", "bin/python -> /opt/software/python/bin/python"), pkg("python", "bin/", "bin/python")
	for _, version := range []string{"0.22.0", "1.0.0", "1.2.0"} {
		for _, order := range [][]Package{{link, file}, {file, link}} {
			r := mustMake(t, Default("/opt/view"), version, order...)
			want(t, r, "bin/python -> /opt/software/python/bin/python")
			if len(r.Conflicts) != 0 {
				t.Errorf("%s: conflicts %v", version, r.Conflicts)
			}
		}
	}
	want(t, mustMake(t, Default("/opt/view"), "0.21.3", link, file), "bin/python -> /opt/software/venv/bin/python")
}

// Of two links to one folder 0.23 takes the later, 1.0 the first.
func TestOfTwoLinksToOneFolder(t *testing.T) {
	a, b, c := pkg("a", "x -> /opt/software/c/lib"), pkg("b", "x -> /opt/software/c/lib"), pkg("c", "lib/", "lib/f")
	want(t, mustMake(t, Default("/opt/view"), "0.23.1", a, b, c), "x -> /opt/software/b/x", "lib/f -> /opt/software/c/lib/f")
	want(t, mustMake(t, Default("/opt/view"), "1.0.2", a, b, c), "x -> /opt/software/a/x", "lib/f -> /opt/software/c/lib/f")
}

func TestAFolderOfOnePackageIsALinkSince12(t *testing.T) {
	app, lib := pkg("app", "share/", "share/app/", "share/app/a/b", "bin/", "bin/app"), pkg("lib", "share/", "share/lib/x", "share/both/y")
	app.Files = append(app.Files, File{Path: "share/both/z"})
	want(t, mustMake(t, Default("/opt/view"), "1.2.0", app, lib), "share/app -> /opt/software/app/share/app", "share/lib -> /opt/software/lib/share/lib",
		"share/both/y -> /opt/software/lib/share/both/y", "share/both/z -> /opt/software/app/share/both/z", "bin/app -> /opt/software/app/bin/app")
	v := Default("/opt/view")
	v.LinkDirs = false
	for _, old := range []Result{mustMake(t, Default("/opt/view"), "1.2.0.dev0", app, lib), mustMake(t, v, "1.2.0", app, lib)} {
		want(t, old, "share/app/a/b -> /opt/software/app/share/app/a/b", "share/lib/x -> /opt/software/lib/share/lib/x",
			"share/both/y -> /opt/software/lib/share/both/y", "share/both/z -> /opt/software/app/share/both/z", "bin/app -> /opt/software/app/bin/app")
	}
}

func TestAFileAgainstAFolderIsRefused(t *testing.T) {
	file, folder := pkg("file", "share/", "share/x"), pkg("folder", "share/", "share/x/", "share/x/y")
	for _, version := range []string{"0.21.0", "0.23.1", "1.1.0", "1.3.0"} {
		for _, order := range [][]Package{{file, folder}, {folder, file}} {
			_, err := Default("/opt/view").Make(version, order)
			if err == nil || !strings.Contains(err.Error(), "share/x") || !strings.Contains(err.Error(), "file@1") || !strings.Contains(err.Error(), "folder@1") {
				t.Errorf("%s: %v", version, err)
			}
		}
	}
}

func TestTwoVersionsOfAPackageAreRefusedUnlessAProjectionPartsThem(t *testing.T) {
	one, two := pkg("zlib", "lib/", "lib/z"), pkg("zlib", "lib/", "lib/z")
	two.Spec, two.Prefix = &buildcache.Spec{Name: "zlib", Version: "2", Hash: "other"}, "/opt/software/other"
	if _, err := Default("/opt/view").Make("0.23.1", []Package{one, two}); err == nil || !strings.Contains(err.Error(), "zlib@1") || !strings.Contains(err.Error(), "zlib@2") {
		t.Errorf("got %v", err)
	}
	v := Default("/opt/view")
	v.Projections = []Projection{{"zlib@2", "{name}-{version}"}}
	want(t, mustMake(t, v, "0.23.1", one, two), "lib/z -> /opt/software/zlib/lib/z", "zlib-2/lib/z -> /opt/software/other/lib/z")
}

// python returns python-venv, python and an extension that depends on both.
func pythonPackages() (venv, python, ext Package) {
	python = pkg("python", "bin/", "bin/python3.11", "bin/python3 -> python3.11", "bin/pydoc!", "lib/", "lib/python3.11/site-packages/")
	python.Spec.Version, python.Hook = "3.11.2", Python
	venv = pkg("python-venv", "bin/", "bin/python3 -> /opt/software/python/bin/python3", "bin/Activate.ps1", "bin/activate", "pyvenv.cfg")
	venv.Hook, venv.Extends = PythonVenv, python.Spec
	ext = pkg("py-x", "bin/", "bin/tool!", "bin/alias -> tool", "bin/data", "lib/", "lib/python3.11/site-packages/x/__init__.py", "libexec/", "libexec/script!")
	ext.Hook, ext.Extends, ext.Interpreter = PythonScripts, python.Spec, venv.Prefix
	ext.Spec.Dependencies = []buildcache.Dependency{{Name: "python", Hash: "python"}, {Name: "python-venv", Hash: "python-venv"}}
	return venv, python, ext
}

func TestScriptsOfPythonExtensionsAreCopiedForTheView(t *testing.T) {
	venv, python, ext := pythonPackages()
	want(t, mustMake(t, Default("/opt/view"), "0.23.1", ext, venv, python),
		"bin/tool = bin/tool (/opt/software/python-venv: /opt/view)", "bin/alias -> tool", "bin/data -> /opt/software/py-x/bin/data",
		"lib/python3.11/site-packages/x/__init__.py -> /opt/software/py-x/lib/python3.11/site-packages/x/__init__.py", "libexec/script -> /opt/software/py-x/libexec/script",
		"bin/activate = bin/activate (/opt/software/python-venv: /opt/view)", "bin/Activate.ps1 = bin/Activate.ps1 (/opt/software/python-venv: /opt/view)",
		"pyvenv.cfg -> /opt/software/python-venv/pyvenv.cfg",
		"bin/python3 -> /opt/software/python-venv/bin/python3", "bin/python3.11 -> /opt/software/python/bin/python3.11", "bin/pydoc -> /opt/software/python/bin/pydoc")
	if got := Default("/opt/view").PythonPath([]Package{ext, venv, python}); !slices.Equal(got, []string{"lib/python3.11/site-packages"}) {
		t.Errorf("PYTHONPATH %q", got)
	}
}

func TestAViewWithPythonAloneIsAVirtualEnvironment(t *testing.T) {
	_, python, _ := pythonPackages()
	r := mustMake(t, Default("/opt/view"), "1.3.0", python)
	i := slices.IndexFunc(r.Entries, func(e Entry) bool { return e.Path == "pyvenv.cfg" })
	if i < 0 {
		t.Fatal("no pyvenv.cfg")
	}
	wanted := "home = /opt/software/python/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n" +
		"executable = /opt/software/python/bin/python3.11\ncommand = /opt/software/python/bin/python3.11 -m venv --without-pip /opt/view\n"
	if got := string(r.Entries[i].Text); got != wanted {
		t.Errorf("got  %q\nwant %q", got, wanted)
	}
}

// Before 0.23 the interpreter itself was copied, so that it found its modules
// in the view.
func TestOldViewsHaveACopyOfPython(t *testing.T) {
	_, python, ext := pythonPackages()
	ext.Interpreter = python.Prefix
	want(t, mustMake(t, Default("/opt/view"), "0.21.0", python, ext),
		"bin/python3.11 = bin/python3.11 (: )", "bin/python3 -> /opt/view/bin/python3.11", "bin/pydoc = bin/pydoc (/opt/software/python: /opt/view)",
		"bin/tool = bin/tool (/opt/software/python: /opt/view)", "bin/alias -> /opt/view/bin/tool", "bin/data = bin/data (: )",
		"lib/python3.11/site-packages/x/__init__.py -> /opt/software/py-x/lib/python3.11/site-packages/x/__init__.py", "libexec/script -> /opt/software/py-x/libexec/script")
}

func TestARecipesOwnHookIsRefused(t *testing.T) {
	odd := pkg("odd", "bin/", "bin/odd")
	odd.Hook = UnknownHook
	if _, err := Default("/opt/view").Make("1.3.0", []Package{odd}); err == nil || !strings.Contains(err.Error(), "odd@1") || !strings.Contains(err.Error(), "add_files_to_view") {
		t.Errorf("got %v", err)
	}
}

func TestHooksFollowFromRecipes(t *testing.T) {
	onPython := []buildcache.Dependency{{Name: "python"}}
	for name, test := range map[string]struct {
		spec   buildcache.Spec
		recipe string
		want   Hook
	}{
		"python":               {buildcache.Spec{Name: "python"}, "class Python(Package):\n    def add_files_to_view(self):\n", Python},
		"venv":                 {buildcache.Spec{Name: "python-venv", Dependencies: onPython}, "", PythonVenv},
		"by its build system":  {buildcache.Spec{Name: "meson", Dependencies: onPython, Parameters: map[string]any{"build_system": "python_pip"}}, "", PythonScripts},
		"by its class":         {buildcache.Spec{Name: "gdal", Dependencies: onPython}, "class Gdal(CMakePackage, AutotoolsPackage, PythonExtension):\n", PythonScripts},
		"a class on two lines": {buildcache.Spec{Name: "gdal", Dependencies: onPython}, "class Gdal(\n    CMakePackage,\n    PythonExtension,\n):\n", PythonScripts},
		"by its name":          {buildcache.Spec{Name: "py-x", Dependencies: onPython}, "", PythonScripts},
		"a base in another":    {buildcache.Spec{Name: "py-x", Dependencies: onPython}, "from spack.pkg.builtin.py_x import PyX as Builtin\nclass PyX(Builtin):\n", PythonScripts},
		"needs python only":    {buildcache.Spec{Name: "neuron", Dependencies: onPython}, "class Neuron(CMakePackage):\n    extends(\"python\")\n", NoHook},
		"without python":       {buildcache.Spec{Name: "gdal"}, "class Gdal(CMakePackage, PythonExtension):\n", NoHook},
		"its own":              {buildcache.Spec{Name: "odd"}, "class Odd(Package):\n    def add_files_to_view(self, view, merge_map):\n", UnknownHook},
		"in a comment":         {buildcache.Spec{Name: "odd"}, "# def add_files_to_view(self)\nclass Odd(Package):\n", NoHook},
		"nektar":               {buildcache.Spec{Name: "nektar"}, "class Nektar(CMakePackage):\n    def add_files_to_view(self, view):\n", UnknownHook},
	} {
		if got := HookOf(&test.spec, []byte(test.recipe)); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

// Links to the folder that they are in become folders, and those in these too.
func TestAViewOfEndlessFoldersIsRefused(t *testing.T) {
	var files []string
	for i := range 200 {
		files = append(files, fmt.Sprintf("l%d -> .", i))
	}
	v := Default("/opt/view")
	for _, version := range []string{"0.23.1", "1.3.0"} {
		packages := []Package{pkg("many", files...)}
		m := newMerger(rulesOf(version), packages)
		m.limit = 5000
		m.merge(v.groups(m, packages)[0], func(string) bool { return false })
		if err := m.refusal(v); err == nil || !strings.Contains(err.Error(), "places") || len(m.dirs)+len(m.files) > m.limit {
			t.Errorf("%s: %d places, %v", version, len(m.dirs)+len(m.files), err)
		}
	}
}

// What is a copy, and in which of them prefixes are replaced, as Spack's view_copy does it where the recipe says whose the
// file is; the recipes of extensions of Python and of python-venv do not.
func TestViewsOfCopiesAndHardLinks(t *testing.T) {
	app := pkg("app", "bin/app", "lib/liba.so", "lib/liba.so.1 -> liba.so", "share/b -> /opt/software/b/share", ".spack/spec.json")
	app.Files = append(app.Files, File{Path: "bin/twin", Same: "bin/app"})
	venv := pkg("python-venv", "bin/activate", "bin/python -> /opt/software/python/bin/python")
	venv.Hook = PythonVenv
	tool := pkg("py-tool", "bin/tool!", "bin/alias -> tool", "bin/data", "lib/tool.py")
	tool.Hook, tool.Interpreter = PythonScripts, "/opt/software/python-venv"
	python := pkg("python", "lib/os.py")
	python.Hook = Python
	for linkType, wanted := range map[LinkType]string{
		Copies: `.spack/app/spec.json=/opt/software/app/.spack/spec.json
			bin/activate=/opt/software/python-venv/bin/activate /opt/software/python-venv:/opt/view
			bin/alias->tool
			bin/app=/opt/software/app/bin/app relocated
			bin/data=/opt/software/py-tool/bin/data
			bin/python->/opt/software/python/bin/python
			bin/tool=/opt/software/py-tool/bin/tool /opt/software/python-venv:/opt/view
			bin/twin=/opt/software/app/bin/app relocated
			lib/liba.so=/opt/software/app/lib/liba.so relocated
			lib/liba.so.1->liba.so relocated
			lib/os.py=/opt/software/python/lib/os.py relocated
			lib/tool.py=/opt/software/py-tool/lib/tool.py
			share/b->/opt/software/b/share relocated`,
		Hardlinks: `.spack/app/spec.json=/opt/software/app/.spack/spec.json hard
			bin/activate=/opt/software/python-venv/bin/activate /opt/software/python-venv:/opt/view
			bin/alias->tool
			bin/app=/opt/software/app/bin/app hard
			bin/data=/opt/software/py-tool/bin/data hard
			bin/python->/opt/software/python/bin/python
			bin/tool=/opt/software/py-tool/bin/tool /opt/software/python-venv:/opt/view
			bin/twin=/opt/software/app/bin/app hard
			lib/liba.so=/opt/software/app/lib/liba.so hard
			lib/liba.so.1->liba.so
			lib/os.py=/opt/software/python/lib/os.py hard
			lib/tool.py=/opt/software/py-tool/lib/tool.py hard
			pyvenv.cfg
			share/b->/opt/software/b/share`,
	} {
		v := Default("/opt/view")
		v.LinkType = linkType
		for _, version := range []string{"0.23.0", "1.1.0", "1.3.0"} {
			var got []string
			for _, e := range mustMake(t, v, version, app, tool, venv, python).Entries {
				line := e.Path
				switch {
				case e.Kind == Dir || e.Path == marker:
					continue
				case e.Kind == Symlink:
					line += "->" + e.Link
				case e.Source != "":
					line += "=" + e.Prefix + "/" + e.Source
				}
				if e.From != "" {
					line += " " + e.From + ":" + e.To
				}
				if e.Relocate {
					line += " relocated"
				}
				if e.Hard {
					line += " hard"
				}
				got = append(got, line)
			}
			if want := strings.Split(strings.ReplaceAll(wanted, "\t", ""), "\n"); !slices.Equal(got, want) {
				t.Errorf("%s, Spack %s:\ngot  %q\nwant %q", linkType, version, got, want)
			}
		}
	}
}
