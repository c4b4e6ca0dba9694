package assemble

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/quote"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

// Paths of the image that name nothing of Spack's.
const (
	environmentDir = "/opt/spack-environment" // spack.lock: what the image holds
	profileScript  = "/etc/profile.d/spacktainer.sh"
	entrypoint     = "/entrypoint.sh"
)

// A variable is one of the search paths that Spack sets for a view.
type variable struct {
	name    string
	folders []string // absolute, before what the variable held
	end     string   // behind it: MANPATH's empty last element means the system's own
	single  bool     // no search path, but a value that what there was gives way to
}

// inspections are the search paths that Spack's prefix inspections set for a
// view, whether or not the folders exist, in the order in which they come out
// of "spack env activate --sh" of Spack 0.23 and 1.3.
var inspections = []variable{
	{name: "PATH", folders: []string{"bin"}},
	{name: "MANPATH", folders: []string{"share/man", "man"}, end: ":"},
	{name: "ACLOCAL_PATH", folders: []string{"share/aclocal"}},
	{name: "PKG_CONFIG_PATH", folders: []string{"share/pkgconfig", "lib64/pkgconfig", "lib/pkgconfig"}},
	{name: "CMAKE_PREFIX_PATH", folders: []string{""}},
}

// environment returns what the default view sets, and behind it externals. Other
// views are only there, as with "spack env activate". Without a default view the
// programs of the roots are found in their own prefixes, and nothing else is set.
func environment(trees []viewTree, roots []payload, externals []external) []variable {
	i := slices.IndexFunc(trees, func(t viewTree) bool { return t.Name == defaultView })
	if i < 0 {
		return programs(roots)
	}
	var set []variable
	for _, v := range inspections {
		folders := below(trees[i].Root, v.folders)
		for _, e := range externals {
			folders = append(folders, e.existing(v.folders)...)
		}
		set = append(set, variable{name: v.name, folders: folders, end: v.end})
	}
	if len(trees[i].python) > 0 {
		set = append(set, variable{name: "PYTHONPATH", folders: below(trees[i].Root, trees[i].python)})
	}
	return append(set, variable{name: "SPACK_ENV_VIEW", folders: []string{defaultView}, single: true})
}

// An external is a package of the base image that lies in a folder of its own.
type external struct {
	prefix string
	base   *baseLayers
}

// externalsOf returns the externals that search paths have to name, dependents before what they
// need. What is in /usr is found without, and Spack names of it only what
// changes nothing: /usr/share/aclocal and the like.
func externalsOf(specs []*buildcache.Spec, base *baseLayers) []external {
	var found []external
	for _, spec := range slices.Backward(specs) {
		prefix := path.Clean(spec.ExternalPath)
		if path.IsAbs(prefix) && !slices.Contains([]string{"/", "/usr", "/usr/local"}, prefix) && !slices.ContainsFunc(found, func(e external) bool { return e.prefix == prefix }) {
			found = append(found, external{prefix, base})
		}
	}
	return found
}

// existing returns the folders that the base image has, as Spack names only those.
func (e external) existing(folders []string) []string {
	return slices.DeleteFunc(below(e.prefix, folders), func(folder string) bool { return !e.base.isFolder(folder) })
}

// programs is PATH with the bin of each package that has one.
func programs(packages []payload) []variable {
	var bins []string
	for _, p := range packages {
		if slices.ContainsFunc(p.Files, func(f views.File) bool { return strings.HasPrefix(f.Path, "bin/") }) {
			bins = append(bins, path.Join(p.Prefix, "bin"))
		}
	}
	if len(bins) == 0 {
		return nil
	}
	return []variable{{name: "PATH", folders: bins}}
}

const defaultView = "default"

func below(root string, folders []string) []string {
	var out []string
	for _, folder := range folders {
		out = append(out, path.Join(root, folder))
	}
	return out
}

// value is what the variable gets in front of before.
func (v variable) value(before string) string {
	parts := slices.Clone(v.folders)
	if before = strings.Trim(before, ":"); before != "" {
		parts = append(parts, before)
	}
	return strings.Join(parts, ":") + v.end
}

// defaultPath is PATH where the base image sets none, as podman and docker
// have it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// imageEnv adds the view's search paths and the definition's own variables to
// those of the base image.
func imageEnv(base []string, view []variable, own map[string]string) []string {
	env := map[string]string{"PATH": defaultPath}
	for _, assignment := range base {
		name, value, _ := strings.Cut(assignment, "=")
		env[name] = value
	}
	for _, v := range view {
		if v.single {
			env[v.name] = ""
		}
		env[v.name] = v.value(env[v.name])
	}
	env["SPACK_ENV"] = environmentDir
	maps.Copy(env, own)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// profile is the same for login shells and for container engines that start
// with an environment of their own. Read twice it adds nothing twice.
func profile(view []variable, own map[string]string) string {
	var b strings.Builder
	b.WriteString("# What the packages need to be found.\n")
	set := map[string]string{"SPACK_ENV": environmentDir}
	for _, v := range view {
		if v.single {
			set[v.name] = v.value("")
			continue
		}
		first := v.folders[0]
		fmt.Fprintf(&b, "case \":${%s:-}:\" in\n*:%s:*) ;;\n*) export %s=\"%s${%s:+:$%s}%s\" ;;\nesac\n",
			v.name, first, v.name, strings.TrimSuffix(v.value(""), ":"), v.name, v.name, v.end)
	}
	maps.Copy(set, own)
	for _, name := range slices.Sorted(maps.Keys(set)) { // what the caller has set stays
		fmt.Fprintf(&b, "[ \"${%s+set}\" ] || export %s=%s\n", name, name, quote.Shell(set[name]))
	}
	return b.String()
}

// entrypointScript runs what it is given, word for word, or a shell.
const entrypointScript = `#!/bin/sh
. ` + profileScript + `
[ "$#" -gt 0 ] || set -- /bin/sh
exec "$@"
`

// sbang runs a script whose interpreter has a path too long for the kernel's
// first line, as padded prefixes do: Spack moves that line to the second place
// and puts "#!/bin/sh …/bin/sbang" before it.
const sbang = `#!/bin/sh
# sbang SCRIPT [ARGUMENT...]: run SCRIPT by the interpreter in its second line.
script=$1
shift
{ read -r _ && IFS= read -r line; } <"$script" || {
	echo "sbang: $script has no second line" >&2
	exit 1
}
case $line in
'#!'*) line=${line#'#!'} line=${line# } ;;
'//!'*) line=${line#'//!'} ;;
'--!'*) line=${line#'--!'} ;;
'<?php #!'*) line=${line#'<?php #!'} line=${line%'?>'} ;;
*)
	echo "sbang: no interpreter in the second line of $script" >&2
	exit 1
	;;
esac
set -f
interpreter=${line%% *}
case ${interpreter##*/} in
perl* | ruby*) exec $line -x "$script" "$@" ;;
esac
exec $line "$script" "$@"
`
