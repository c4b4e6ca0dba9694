package views

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A Hook is what a recipe does beyond linking a package's files.
type Hook uint8

// The hooks of Spack's own recipes.
const (
	NoHook        Hook = iota
	PythonScripts      // of PythonExtension: scripts are copied for the view's interpreter
	PythonVenv         // of python-venv: activation scripts are copied
	Python             // of python: pyvenv.cfg, where the view has none
	UnknownHook        // a recipe's own
)

var (
	baseClasses = regexp.MustCompile(`(?m)^class\s+\w+\s*\(([^)]*)\)`)
	ownHook     = regexp.MustCompile(`(?m)^\s+def\s+add_files_to_view\b`)
	pythonBase  = regexp.MustCompile(`\bPython(Package|Extension)\b`)
)

// HookOf returns what a package's recipe does to views. The recipe is the
// package.py that its tarball carries; without one the hook follows from the
// package's name and build system.
func HookOf(spec *buildcache.Spec, recipe []byte) Hook {
	switch {
	case spec.Name == "python":
		return Python
	case spec.Name == "python-venv":
		return PythonVenv
	case ownHook.Match(recipe):
		return UnknownHook
	case !dependsOnPython(spec):
		return NoHook
	case buildSystem(spec) == "python_pip" || inherits(spec, recipe):
		return PythonScripts
	}
	return NoHook
}

func dependsOnPython(spec *buildcache.Spec) bool {
	return slices.ContainsFunc(spec.Dependencies, func(d buildcache.Dependency) bool {
		return d.Name == "python" || d.Name == "python-venv"
	})
}

func buildSystem(spec *buildcache.Spec) string {
	name, _ := spec.Parameters["build_system"].(string)
	return name
}

// inherits reports whether the recipe's class is a PythonExtension. That of
// another recipe's class cannot be told; by its name it is one.
func inherits(spec *buildcache.Spec, recipe []byte) bool {
	found := baseClasses.FindSubmatch(recipe)
	if found == nil || bytes.Contains(recipe, []byte("from spack.pkg.")) || bytes.Contains(recipe, []byte("from spack_repo.")) && !pythonBase.Match(found[1]) {
		return strings.HasPrefix(spec.Name, "py-")
	}
	return pythonBase.Match(found[1])
}
