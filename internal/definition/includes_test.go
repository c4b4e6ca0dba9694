package definition

import (
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func TestWhatAnEnvironmentRefersToTravelsWithIt(t *testing.T) {
	files := in(`spack:
  specs: [a]
  include:
  - common.yaml
  - path: ../../_shared/more.yaml
  - {path: absent.yaml, optional: true}
  - https://example.org/x.yaml
  - $spack/etc/x.yaml
  repos:
  - ../../../recipes/spack_repo/mine
  - builtin
  develop:
    a: {spec: a@1, path: src/a}
    b: {spec: b@1}
`)
	dir := "container_definitions/amd64/x/"
	for name, text := range map[string]string{
		dir + "common.yaml": "packages:\n  a: {version: [1]}\n", "container_definitions/_shared/more.yaml": "config: {}\n",
		"recipes/spack_repo/mine/repo.yaml": "repo: {namespace: mine}\n", dir + "src/a/a.c": "", dir + "b/.hidden": "",
	} {
		files[name] = text
	}
	d := loadOne(t, files)
	text, err := d.Environment(Template(""))
	if err != nil {
		t.Fatal(err)
	}
	want := []FilePair{
		{dir + "common.yaml", "included/0/" + dir + "common.yaml"},
		{"container_definitions/_shared/more.yaml", "included/1/container_definitions/_shared/more.yaml"},
		{"recipes/spack_repo/mine", "included/2/recipes/spack_repo/mine"},
		{dir + "src/a", "included/3/" + dir + "src/a"},
		{dir + "b", "included/4/" + dir + "b"},
	}
	if !slices.Equal(d.Included, want) {
		t.Errorf("got %q", d.Included)
	}
	for _, pair := range want {
		if !strings.Contains(string(text), "./"+pair.Target) {
			t.Errorf("%s is not named in\n%s", pair.Target, text)
		}
	}
	for _, kept := range []string{"https://example.org/x.yaml", "$spack/etc/x.yaml", "builtin"} {
		if !strings.Contains(string(text), kept) {
			t.Errorf("%s is gone from\n%s", kept, text)
		}
	}
	inputs, err := d.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir + "common.yaml", "container_definitions/_shared/more.yaml", "recipes/spack_repo/mine/repo.yaml", dir + "src/a/a.c", dir + "b/.hidden"} {
		if !slices.ContainsFunc(inputs, func(in Input) bool { return in.Path == name && in.SHA256 != "" }) {
			t.Errorf("%s is no input", name)
		}
	}
}

func TestWhatCannotTravelIsRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		"include: [common.yaml]":                  `spack.yaml:3:13: "common.yaml" does not exist`,
		"include: [../../../../x.yaml]":           `"../../../../x.yaml" leads outside of the repository`,
		"include: [/etc/spack/x.yaml]":            `"/etc/spack/x.yaml" is a path of one machine`,
		"include: ['~/x.yaml']":                   `"~/x.yaml" is a path of one machine`,
		"include: ['$HOME/x.yaml']":               `"$HOME/x.yaml" has a variable`,
		"include: ['file:///etc/x.yaml']":         `is a path of one machine`,
		"include: [{when: true}]":                 "an include has no path",
		"include: [link.yaml]":                    `"link.yaml" leads outside`,
		"include: [nested.yaml]":                  `"nested.yaml" has include in line 1: name that in`,
		"include: [broken.yaml]":                  `"broken.yaml" is no YAML`,
		"repos: [recipes]":                        `"recipes" does not exist`,
		"repos: {mine: recipes}":                  `"recipes" does not exist`,
		"repos: {mine: {git: x, destination: y}}": "a repository's destination is the build's own matter",
		"develop: {a: {spec: a@1}}":               `"a" does not exist`,
		"include_concrete: [../y]":                `"../y" does not exist`,
	} {
		files := in("spack:\n  specs: [a]\n  " + text + "\n")
		files["container_definitions/amd64/x/link.yaml"] = "-> /etc/hostname"
		files["container_definitions/amd64/x/nested.yaml"] = "include: [other.yaml]\n"
		files["container_definitions/amd64/x/broken.yaml"] = "a: {\n"
		if _, errs := load(t, files); len(errs) != 1 || !strings.Contains(errs.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, errs, want)
		}
	}
}

func TestGroupsAndOtherSectionsArePeoples(t *testing.T) {
	d := loadOne(t, in(`spack:
  specs:
  - group: tools
    specs: [a]
  - {group: apps, needs: [tools], explicit: false, override: {packages: {}}, matrix: [[b], [+x]]}
  -
  - c
  container: {format: docker}
`))
	if !slices.Equal(d.Specs, []string{"a", "c"}) {
		t.Errorf("specs are %q", d.Specs)
	}
	for text, want := range map[string]string{
		"[{group: tools}]":              "only one with the key matrix or specs",
		"[{group: tools, spec: [a]}]":   "only one with the key matrix or specs",
		"[{specs: [a], need: [b]}]":     `unknown key "need" in a group of specs: did you mean "needs"?`,
		"[{specs: a}]":                  `specs is "a": it is a list`,
		"[{matrix: [a]}]":               `a row of a matrix is "a": it is a list`,
		"[{group: x, specs: ['a@@1']}]": "no spec: ",
	} {
		if _, errs := load(t, in("spack:\n  specs: "+text+"\n")); len(errs) != 1 || !strings.Contains(errs.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, errs, want)
		}
	}
}

func TestTheLockfileBesideADefinitionIsChecked(t *testing.T) {
	lock := `{"_meta":{"file-type":"spack-lockfile","lockfile-version":5,"specfile-version":4},"roots":[{"hash":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spec":"b"}],"concrete_specs":{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":{"name":"b","version":"1","hash":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}}`
	for text, want := range map[string]string{
		lock:               `spack.lock: spec "a" of x is not among its roots: concretize again`,
		lock[:len(lock)/2]: "spack.lock: ",
		"{}":               "spack.lock: ",
	} {
		files := in("spack:\n  specs: [a]\n")
		files["container_definitions/amd64/x/spack.lock"] = text
		d := loadOne(t, files)
		if errs := d.CheckLock(takes(d)); len(errs) != 1 || !strings.Contains(errs.Error(), want) {
			t.Errorf("got %v, want %s", errs, want)
		}
	}
	files := in("spack:\n  specs: [b]\n")
	files["container_definitions/amd64/x/spack.lock"] = lock
	d := loadOne(t, files)
	if errs := d.CheckLock(takes(d)); len(errs) > 0 {
		t.Error(errs)
	}
}

// takes says whether a lockfile has the definition's roots.
func takes(d Definition) func(text []byte) error {
	return func(text []byte) error {
		lock, err := buildcache.ParseLockfile(text)
		if err == nil {
			_, err = d.Roots(lock)
		}
		return err
	}
}
