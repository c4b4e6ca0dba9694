package definition

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A definition file decides what is in its container, and does nothing on the machine that builds
// it.
func TestADefinitionFileRunsAndTakesNothingOfTheMachine(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	for _, dir := range []string{"container_definitions/amd64", "data/deep"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "key"), "canary")
	write(filepath.Join(root, "data/file"), "x")
	write(filepath.Join(root, "a b"), "x")
	link("data/file", "inside")
	link(filepath.Join(outside, "key"), "key")
	link("..", "data/deep/up")
	link(outside, "data/deep/out")
	link("data", "twice")
	const begin = "Bootstrap: docker\nFrom: a:1\n"
	for text, want := range map[string]string{
		"%post\ntrue\n%files\ndata/file /x\n\"a b\" /y\na\\ b\n# /etc/shadow\n\ninside\nnot-there": "",
		"%files from build\n/opt /opt\n":                  "",
		"%post\n%setup() { :; }\n":                        "", // no section has this name
		"%setup\ntouch /tmp/x\n":                          "%setup runs on the machine",
		"  %SETUP -c /bin/bash\nx\n":                      "%setup runs on the machine",
		"%pre\nx\n":                                       "%pre runs on the machine",
		"%post\nx\n{{ s }}\nid\n%arguments\ns=%setup\n":   "%setup runs on the machine",
		"%arguments\ns=setup\n%{{ s }}\nid\n":             "%setup runs on the machine",
		"%files\n/root/.ssh /x\n":                         "is no path below it",
		"%files\n\"/root/.ssh\" /x\n":                     "is no path below it",
		"%files\n{{ f }}\n%arguments\nf=/etc/shadow /x\n": "is no path below it",
		"%files\n~/.ssh /x\n":                             "is no path below it",
		"%files\n$HOME/.ssh /x\n":                         "is no path below it",
		"%files\n{/etc,/root} /x\n":                       "is no path below it",
		"%files\ndata/../../x /x\n":                       "leads out of the repository",
		"%files\nkey /x\n":                                "link that leads out",
		"%files\nk* /x\n":                                 "link that leads out",
		"%files\ndata /x\n":                               "link that leads out",
		"%files\ndata/deep/out/key /x\n":                  "link that leads out",
		"%files\ndata/deep/out/k* /x\n":                   "link that leads out",
		"%files\nda*/deep/out/key /x\n":                   "wildcard in the name of a folder",
		"%files\ndata/f* /x\n":                            "",
		"%files\ntwice /x\n":                              "link that leads out",
	} {
		write(filepath.Join(root, "container_definitions/amd64/x.def"), begin+text)
		_, err := Load(root)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
