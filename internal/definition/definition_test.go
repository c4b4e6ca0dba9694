package definition

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

// repository writes files below a temporary folder and returns it. A name that
// ends in / is a folder, a text that begins with "-> " a link.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		dir := filepath.Dir(file)
		if strings.HasSuffix(name, "/") {
			dir = file
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, file)
		} else if !strings.HasSuffix(name, "/") {
			err = os.WriteFile(file, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const hello = "spack:\n  specs: [hello-spack]\n"

// in puts a spack.yaml into a repository with some files to copy.
func in(text string) map[string]string {
	return map[string]string{
		"container_definitions/amd64/x/spack.yaml": text,
		"spacktainer/files/x/script.sh":            "echo x\n",
		"spacktainer/files/x/sub/.hidden":          "h\n",
	}
}

func load(t *testing.T, files map[string]string) ([]Definition, Errors) {
	t.Helper()
	defs, err := Load(repository(t, files))
	var errs Errors
	if err != nil && !errors.As(err, &errs) {
		t.Fatal(err)
	}
	return defs, errs
}

// loadOne loads the only definition of a repository, which must be valid.
func loadOne(t *testing.T, files map[string]string) Definition {
	t.Helper()
	defs, errs := load(t, files)
	if len(errs) > 0 || len(defs) != 1 {
		t.Fatalf("got %d definitions and errors:\n%v", len(defs), errs)
	}
	return defs[0]
}

func TestLoadReadsEveryShape(t *testing.T) {
	root := repository(t, map[string]string{
		"container_definitions/amd64/folder/spack.yaml":             hello,
		"container_definitions/amd64/folder/spack.lock":             "{}",
		"container_definitions/amd64/folder/Dockerfile.epilogue":    "-> ../../_shared/e",
		"container_definitions/_shared/e":                           "RUN true\n",
		"container_definitions/amd64/file.yaml":                     "spack: {specs: [a+b, $all, {matrix: [[c]]}]}\nspacktainer:\n  files: ['files/x/s.sh:/opt/s.sh']\n  strip: false\n  test: [a --version]\n  labels: {version: 1.10}\n  env: {OMP_NUM_THREADS: 1}\n",
		"container_definitions/amd64/file.spack.lock":               "{}",
		"container_definitions/arm64/file.yaml":                     hello,
		"container_definitions/amd64/image.def":                     "Bootstrap: docker\nFrom: a/b:1\n",
		"container_definitions/amd64/README.md":                     "",
		"container_definitions/amd64/_draft/spack.yaml":             "nonsense",
		"container_definitions/amd64/_draft.yaml":                   "nonsense",
		"container_definitions/amd64/.hidden.yaml":                  "nonsense",
		"container_definitions/amd64/folder/.spack-env/view/x/y.sh": "",
		"container_definitions/README.md":                           "",
		"spacktainer/files/x/s.sh":                                  "",
	})
	got, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []Definition{{
		Name: "file", Platform: "linux/amd64", Kind: Environment, Root: root,
		Path: "container_definitions/amd64/file.yaml", Dir: "container_definitions/amd64", LockPath: "container_definitions/amd64/file.spack.lock",
		Specs: []string{"a+b", "$all"},
		Files: []FilePair{{Source: "spacktainer/files/x/s.sh", Target: "/opt/s.sh"}},
		Test:  []string{"a --version"}, Labels: map[string]string{"version": "1.10"}, Env: map[string]string{"OMP_NUM_THREADS": "1"},
	}, {
		Name: "file", Platform: "linux/arm64", Kind: Environment, Root: root,
		Path: "container_definitions/arm64/file.yaml", Dir: "container_definitions/arm64",
		Specs: []string{"hello-spack"}, Strip: true,
	}, {
		Name: "folder", Platform: "linux/amd64", Kind: Environment, Root: root,
		Path: "container_definitions/amd64/folder/spack.yaml", Dir: "container_definitions/amd64/folder", LockPath: "container_definitions/amd64/folder/spack.lock",
		Specs: []string{"hello-spack"}, Strip: true,
		EpiloguePath: "container_definitions/amd64/folder/Dockerfile.epilogue", Epilogue: []byte("RUN true\n"),
	}, {
		Name: "image", Platform: "linux/amd64", Kind: Apptainer, Root: root,
		Path: "container_definitions/amd64/image.def", Dir: "container_definitions/amd64",
		Strip: true, Bootstrap: "docker", From: "a/b:1",
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(&yaml.Node{})); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	const at = "container_definitions/amd64/x/spack.yaml"
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"the same name twice", map[string]string{"container_definitions/amd64/x.yaml": hello, at: hello},
			`container_definitions/amd64/x.yaml: defines "x" again: it is defined in ` + at},
		{"an unknown platform", map[string]string{"container_definitions/riscv64/x.yaml": hello},
			"container_definitions/riscv64: is no architecture: the folders here are amd64 and arm64; a name that begins with _ is skipped"},
		{"a definition outside of a platform", map[string]string{"container_definitions/x.yaml": hello},
			`container_definitions/x.yaml: belongs to no platform: put it into "amd64" or "arm64"`},
		{"a folder without a definition", map[string]string{"container_definitions/amd64/x/": ""},
			"container_definitions/amd64/x: holds no spack.yaml; begin its name with _ if it is no definition"},
		{"another ending", map[string]string{"container_definitions/amd64/x.yml": hello},
			"container_definitions/amd64/x.yml: is not read: call it x.yaml"},
		{"a lockfile of nothing", map[string]string{"container_definitions/amd64/x.spack.lock": "{}"},
			"container_definitions/amd64/x.spack.lock: is the lockfile of x.yaml, which does not exist"},
		{"an upper-case name", map[string]string{"container_definitions/amd64/Foo.yaml": hello},
			`container_definitions/amd64/Foo.yaml: "Foo" is no name for an image: write it in lower case, "foo"`},
		{"a name that no registry takes", map[string]string{"container_definitions/amd64/a__b.yaml": hello},
			`container_definitions/amd64/a__b.yaml: "a__b" is no name for an image: use lower-case letters and digits, separated by single '.', '_' or '-'`},

		{"an unreadable definition", map[string]string{at + "/": ""}, at + ": is a directory"},
		{"a link to nothing", map[string]string{at: "-> nowhere.yaml"}, at + ": does not exist"},
		{"a link out of the repository", map[string]string{at: "-> /etc/passwd"}, at + ": leads outside"},
		{"an empty file", in(""), at + ": is empty: a definition names its specs below spack"},
		{"a file of comments", in("# later\n"), at + ": is empty: a definition names its specs below spack"},
		{"invalid YAML", in("spack:\n  specs: [a\n"), at + ":2:1: invalid YAML: did not find expected ',' or ']'"},
		{"an outdented key", in("spack:\n    view: true\n  specs: [a]\n"), at + ":3:1: invalid YAML: did not find expected key"},
		{"a value in a value", in("spack:\n  specs: a: b\n"), at + ":2:1: invalid YAML: mapping values are not allowed in this context"},
		{"a tab", in("spack:\n\tspecs: [a]\n"), at + ":2:1: invalid YAML: found character that cannot start any token: a tab; YAML indents with spaces"},
		{"two documents", in(hello + "---\n" + hello), at + ":3:1: holds a second YAML document: one file, one definition"},
		{"a list", in("- a\n"), at + ":1:1: holds a list: a definition is a mapping with spack and spacktainer"},
		{"a key twice", in("spack:\n  specs: [a]\n  packages:\n    all: {}\n    all: {}\n"), at + `:5:5: key "all" stands twice: first in line 4`},
		{"a key twice, once with Spack's colon", in("spack:\n  specs: [a]\n  packages: {}\n  packages:: {}\n"), at + `:4:3: key "packages" stands twice: first in line 3`},
		{"a merge of no mapping", in("spack:\n  specs: [a]\n  packages: {<<: b}\n"), at + `:3:18: << merges "b": it merges mappings`},
		{"aliases without end", in("spack: &a\n  specs: [a]\n  packages: *a\n"), at + ":3:13: aliases expand to more than 100000 nodes"},

		{"an unknown key", in(hello + "spaktainer: {}\n"), at + `:3:1: unknown key "spaktainer": did you mean "spacktainer"?`},
		{"specs at the top", in(hello + "specs: [a]\n"), at + `:3:1: "specs" belongs below spack`},
		{"files at the top", in(hello + "files: []\n"), at + `:3:1: "files" belongs below spacktainer`},
		{"an unknown section", in("spack:\n  specs: [a]\n  package: {}\n"), at + `:3:3: unknown section "package" below spack: did you mean "packages"?`},
		{"a section of another kind", in("spack:\n  specs: [a]\n  packages: [b]\n"), at + `:3:13: packages is a list: it is a mapping`},
		{"an empty section", in("spack:\n  specs: [a]\n  packages:\n"), at + `:3:12: packages holds nothing`},
		{"an unknown setting", in(hello + "spacktainer:\n  fils: []\n"), at + `:4:3: unknown key "fils" below spacktainer: did you mean "files"?`},
		{"a setting like no other", in(hello + "spacktainer:\n  zzz: []\n"), at + `:4:3: unknown key "zzz" below spacktainer: known are env, files, labels, strip, test`},

		{"no spack", in("spacktainer: {}\n"), at + ":1:1: no specs: name them below spack"},
		{"spack without content", in("spack:\n"), at + ":1:7: spack is nothing: it is a mapping with specs"},
		{"no specs", in("spack:\n  view: true\n"), at + ":1:1: no specs: name at least one package below spack: specs"},
		{"empty specs", in("spack:\n  specs: []\n"), at + ":2:10: specs is empty: name at least one package"},
		{"a spec that is a number", in("spack:\n  specs: [1.5]\n"), at + ":2:11: a spec is the number 1.5: put it in quotes if it is meant"},
		{"a spec that is a truth value", in("spack:\n  specs: [true]\n"), at + ":2:11: a spec is the truth value true: put it in quotes if it is meant"},
		{"a spec that is nothing", in("spack:\n  specs:\n    -\n"), at + ":3:5: specs is empty: name at least one package"},
		{"a spec that is a list", in("spack:\n  specs: [[a]]\n"), at + ":2:11: a spec is a list: it is a string, such as hdf5+mpi"},
		{"a spec that is a mapping", in("spack:\n  specs: [a: b]\n"), at + ":2:11: a spec is a mapping: only one with the key matrix or specs can be; quote a spec that holds ': '"},

		{"strip that is no truth value", in(hello + "spacktainer:\n  strip: 1\n"), at + ":4:10: strip is the number 1: it is true or false"},
		{"a test that is no list", in(hello + "spacktainer:\n  test: a\n"), at + `:4:9: test is "a": it is a list`},
		{"a label that is a list", in(hello + "spacktainer:\n  labels: {a: [b]}\n"), at + `:4:15: a below labels is a list: it is a string`},
		{"a variable of the image", in(hello + "spacktainer:\n  env: {PATH: /x}\n"), at + `:4:9: PATH is set by the image, from its view and its base image: leave it out`},
		{"a variable of Spack", in(hello + "spacktainer:\n  env: {SPACK_ENV: /x}\n"), at + `:4:9: SPACK_ENV is set by the image, from its view and its base image: leave it out`},
		{"a variable in a value", in(hello + "spacktainer:\n  env: {A: \"/x:$B\"}\n"), at + `:4:12: A is "/x:$B": values are literal, no variable in them is looked up`},
		{"a variable that no shell takes", in(hello + "spacktainer:\n  env: {a-b: c}\n"), at + `:4:9: "a-b" is no name for an environment variable`},

		{"an epilogue with another stage", map[string]string{at: hello, "container_definitions/amd64/x/Dockerfile.epilogue": "RUN true\n  from debian\n"},
			"container_definitions/amd64/x/Dockerfile.epilogue:2:3: FROM starts another image: the epilogue is appended to the last stage"},
		{"an epilogue with another stage behind what is no heredoc", map[string]string{at: hello, "container_definitions/amd64/x/Dockerfile.epilogue": "RUN cat <<<word $((1<<X))\nFROM debian\n"},
			"container_definitions/amd64/x/Dockerfile.epilogue:2:1: FROM starts another image: the epilogue is appended to the last stage"},
		{"an epilogue with an open heredoc", map[string]string{at: hello, "container_definitions/amd64/x/Dockerfile.epilogue": "RUN <<EOF\nFROM debian\n"},
			"container_definitions/amd64/x/Dockerfile.epilogue:1: a heredoc has no end"},
		{"an epilogue outside of the repository", map[string]string{at: hello, "container_definitions/amd64/x/Dockerfile.epilogue": "-> /etc/hostname"},
			"container_definitions/amd64/x/Dockerfile.epilogue: leads outside"},
		{"a lockfile that is a folder", map[string]string{at: hello, "container_definitions/amd64/x/spack.lock/": ""},
			"container_definitions/amd64/x/spack.lock: is no file"},
		{"mistakes in all files of a definition", map[string]string{at: "spack: {}\n", "container_definitions/amd64/x/spack.lock": "-> nowhere", "container_definitions/amd64/x/Dockerfile.epilogue": "FROM a\n"},
			"container_definitions/amd64/x/Dockerfile.epilogue:1:1: FROM starts another image: the epilogue is appended to the last stage\n" +
				"container_definitions/amd64/x/spack.lock: does not exist\n" +
				at + ":1:1: no specs: name at least one package below spack: specs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defs, errs := load(t, tt.files)
			if got := errs.Error(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if len(defs) > 0 {
				t.Errorf("got the definition %v all the same", defs[0].Path)
			}
		})
	}
}

func TestLoadRefusesFiles(t *testing.T) {
	tests := []struct{ name, pair, want string }{
		{"a mapping", "{files/x/script.sh: /opt/x}", "a file is a mapping: write source:target without a space behind the colon"},
		{"no target", "files/x/script.sh", `a file is "files/x/script.sh": it is source:target`},
		{"two targets", "files/x/script.sh:/a:/b", `a file is "files/x/script.sh:/a:/b": it is source:target`},
		{"a space", `"files/x/script.sh :/a"`, `a file is "files/x/script.sh :/a": spaces around and control characters in its paths are refused`},
		{"a line break", `"files/x/script.sh:/a\nRUN b"`, `a file is "files/x/script.sh:/a\nRUN b": spaces around and control characters in its paths are refused`},
		{"a relative target", "files/x/script.sh:opt", `target "opt" is not absolute`},
		{"a target that climbs", "files/x/script.sh:/opt/../etc", `target "/opt/../etc" holds '..'`},
		{"a target with a slash behind", "files/x/script.sh:/opt/", `target "/opt/" is not clean: write /opt`},
		{"the root as target", "files/x/script.sh:/", `target "/" is the root: name a path below it`},
		{"a missing source", "files/x/none.sh:/a", `source "files/x/none.sh" does not exist`},
		{"a source that climbs", "files/../../secret:/a", `source "files/../../secret" leads outside of spacktainer/`},
		{"an absolute source", "/etc/passwd:/a", `source "/etc/passwd" is absolute: sources are relative to spacktainer/`},
		{"a link that climbs", "files/climb:/a", `source "files/climb" leads outside of spacktainer/`},
		{"an absolute link", "files/absolute:/a", `source "files/absolute" leads outside of spacktainer/`},
		{"a link out of a folder", "files/out:/a", `source "files/out/deep/link" leads outside of the folder that is copied`},
		{"a link to nothing in a folder", "files/dangling:/a", `source "files/dangling/link" does not exist`},
		{"the whole folder", ".:/a", `source "." is all of spacktainer/: name a file or folder in it`},
		{"a socket", "files/socket:/a", `source "files/socket" is neither a file nor a folder nor a link`},
		{"below a file", "files/x/script.sh/y:/a", `source "files/x/script.sh/y" not a directory`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := in(hello + "spacktainer:\n  files:\n    - " + tt.pair + "\n")
			files["secret"] = "s"
			files["spacktainer/files/climb"] = "-> ../../secret"
			files["spacktainer/files/absolute"] = "-> /etc/passwd"
			files["spacktainer/files/out/deep/link"] = "-> ../../x/script.sh"
			files["spacktainer/files/dangling/link"] = "-> nowhere"
			root := repository(t, files)
			t.Chdir(root) // the path of a socket must be short
			socket, err := net.Listen("unix", "spacktainer/files/socket")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = socket.Close() }()
			_, err = Load(root)
			if err == nil {
				t.Fatal("no error")
			}
			if got, want := err.Error(), "container_definitions/amd64/x/spack.yaml:5:7: "+tt.want; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestLoadTakesLinksThatStayInside(t *testing.T) {
	files := in(hello + "spacktainer:\n  files:\n    - files/link:/opt/x\n    - files/x/script.sh:/opt/s\n")
	files["spacktainer/files/link"] = "-> x"
	files["spacktainer/files/x/sub/up"] = "-> ../script.sh"
	d := loadOne(t, files)
	if got, want := d.Files[0].Source, "spacktainer/files/x"; got != want {
		t.Errorf("the link is copied from %s, want what it leads to: %s", got, want)
	}
	var paths []string
	for _, in := range inputs(t, d) {
		paths = append(paths, in.Path)
	}
	if !slices.Contains(paths, "spacktainer/files/x/sub/.hidden") {
		t.Errorf("the inputs are %q", paths)
	}
}

func TestLoadRefusesALinkToTheWholeFolder(t *testing.T) {
	files := in(hello + "spacktainer:\n  files:\n    - files/all:/a\n")
	files["spacktainer/files/all"] = "-> .."
	_, errs := load(t, files)
	want := `container_definitions/amd64/x/spack.yaml:5:7: "files/all:/a" leads to all of spacktainer/: name a file or folder in it`
	if got := errs.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoadRefusesTheSameTargetTwice(t *testing.T) {
	_, errs := load(t, in(hello+"spacktainer:\n  files:\n    - files/x/script.sh:/opt/x\n    - files/x/sub:/opt/x\n"))
	want := `container_definitions/amd64/x/spack.yaml:6:7: target "/opt/x" stands twice: first in line 5`
	if got := errs.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoadReturnsGoodDefinitionsBesideAllErrors(t *testing.T) {
	defs, errs := load(t, map[string]string{
		"container_definitions/amd64/good.yaml":  hello,
		"container_definitions/amd64/b.yaml":     "spack: {specs: [1], pakages: {}}\nspacktainer: {strp: true}\n",
		"container_definitions/amd64/a.def":      "Bootstrap: docker\n",
		"container_definitions/x86/c/spack.yaml": hello,
	})
	if len(defs) != 1 || defs[0].Name != "good" {
		t.Errorf("got %d definitions, want good alone", len(defs))
	}
	want := strings.Join([]string{
		`container_definitions/amd64/a.def:1:1: no image: a stage with 'Bootstrap: docker' needs 'From: IMAGE:TAG'`,
		`container_definitions/amd64/b.yaml:1:17: a spec is the number 1: put it in quotes if it is meant`,
		`container_definitions/amd64/b.yaml:1:21: unknown section "pakages" below spack: did you mean "packages"?`,
		`container_definitions/amd64/b.yaml:2:15: unknown key "strp" below spacktainer: did you mean "strip"?`,
		`container_definitions/x86: is no architecture: the folders here are amd64 and arm64; a name that begins with _ is skipped`,
	}, "\n")
	if diff := cmp.Diff(want, errs.Error()); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if got := len(errs.in(Definition{Name: "b", Platform: "linux/amd64"})); got != 3 {
		t.Errorf("got %d errors of b, want 3", got)
	}
	var first *Error
	if !errors.As(errs, &first) || first.Line != 1 || first.Definition != "a" {
		t.Errorf("got %+v as the first error", first)
	}
}

func TestLoadRefusesARepositoryWithoutDefinitions(t *testing.T) {
	if _, err := Load(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the folder does not exist", err)
	}
	t.Chdir(t.TempDir())
	_, err := Load(".")
	if want := "no container_definitions here: run this in the repository's root"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
