package podman

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// builder runs lines of python with the builder's program, as b, and returns what they print.
func builder(t *testing.T, lines string) string {
	t.Helper()
	python := tooltest.Need(t, "python3")
	script, err := filepath.Abs("../../builder/spacktainers")
	if err != nil {
		t.Fatal(err)
	}
	load := "import importlib.machinery, importlib.util, os, sys\nsys.dont_write_bytecode = True\n" +
		"loader = importlib.machinery.SourceFileLoader('builder', sys.argv[1])\n" +
		"b = importlib.util.module_from_spec(importlib.util.spec_from_loader('builder', loader))\nloader.exec_module(b)\n"
	cmd := exec.CommandContext(t.Context(), python, "-c", load+lines, script, t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// Until 1.1 Spack makes a view a link to a folder elsewhere, and since 1.2 a folder.
func TestTheFinalImageGetsViewsAsSpackLaysThemOut(t *testing.T) {
	got := builder(t, `
home = sys.argv[2]
b.STAGE = home + "/stage"
os.makedirs(home + "/opt/._view/abc/bin"); os.symlink("/x", home + "/opt/._view/abc/bin/x"); os.symlink(home + "/opt/._view/abc", home + "/opt/old")
os.makedirs(home + "/opt/new/bin"); os.symlink("/y", home + "/opt/new/bin/y")
for name in ("old", "new", "none"):
    b.move_view(f"{home}/opt/{name}")
for folder, folders, names in sorted(os.walk(b.STAGE + home)):
    for name in sorted(folders + names):
        path = os.path.join(folder, name)
        if os.path.islink(path):
            print(path[len(b.STAGE + home):], "->", os.readlink(path).replace(home, ""))
`)
	want := "/opt/old -> /opt/._view/abc\n/opt/._view/abc/bin/x -> /x\n/opt/new/bin/y -> /y\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Both installers of Spack, with a package that does not compile and one that cannot be fetched.
func TestTheBuilderTellsWhichPackageFailedFirst(t *testing.T) {
	hash := func(letter string) string { return strings.Repeat(letter, 32) }
	for name, c := range map[string]struct{ said, want string }{
		"up to 1.1": {`==> Installing zz-a-1.0-` + hash("a") + ` [1/3]
==> No binary for zz-a-1.0-` + hash("a") + ` found: installing from source
==> Error: FetchError: All fetchers failed for spack-stage-zz-a-1.0
    https://example.org/a.tar.gz: no such host
==> Warning: Skipping build of zz-c-1.0-` + hash("c") + ` since zz-a-1.0-` + hash("a") + ` failed
==> Installing zz-d-1.0-` + hash("d") + ` [2/4]
[+] /opt/software/zz-d-1.0-` + hash("d") + `
==> Installing zz-b-2.0-` + hash("b") + ` [3/4]
==> zz-b: Executing phase: 'install'
==> Error: ProcessError: Command exited with status 1:
    'make'
See build log for details:

==> Error: zz-a-1.0-` + hash("a") + `: FetchError: All fetchers failed for spack-stage-zz-a-1.0
==> Error: zz-c-1.0-` + hash("c") + `: Package was not installed
==> Error: Terminating after first install failure: ProcessError: Command exited with status 1:
==> Error: Installation request failed.  Refer to reported errors for failing package(s).
`, "spacktainers: failed: zz-a-1.0-" + hash("a") + `
spacktainers: | FetchError: All fetchers failed for spack-stage-zz-a-1.0
spacktainers: |     https://example.org/a.tar.gz: no such host
spacktainers: failed: zz-b-2.0-` + hash("b") + `
spacktainers: | end of the log of zz-b
`},
		"since 1.2": {`[ ] aaaaaaa zz-a@1.0 staging
[x] bbbbbbb zz-b@2.0 failed: HOME/zz-b.log (3s)
[x] aaaaaaa zz-a@1.0 failed: HOME/zz-a.log (1m 2s)
[x] ddddddd zz-d@1.0 failed: HOME/none.log
==> Error: The following packages failed to install:
zz-b@2.0/bbbbbbb: HOME/zz-b.log
`, "spacktainers: failed: zz-b-2.0-" + hash("b") + `
spacktainers: | end of the other log of zz-b
spacktainers: failed: zz-a-1.0-` + hash("a") + `
spacktainers: | spack.error.FetchError: All fetchers failed
spacktainers: |     https://example.org/a.tar.gz: no such host
spacktainers: failed: zz-d-1.0-ddddddd
`},
	} {
		t.Run(name, func(t *testing.T) {
			said := filepath.Join(t.TempDir(), "said")
			if err := os.WriteFile(said, []byte(c.said), 0o644); err != nil {
				t.Fatal(err)
			}
			got := builder(t, `
home = sys.argv[2]
b.BUILDS, b.ENVIRONMENT = home + "/builds", home
stage = f"{b.BUILDS}/root/spack-stage-zz-b-2.0-`+hash("b")+`"
os.makedirs(stage)
open(f"{stage}/spack-build-out.txt", "w").write("end of the log of zz-b\n")
open(f"{home}/zz-b.log", "w").write("end of the other log of zz-b\n")
open(f"{home}/zz-a.log", "w").write("Traceback (most recent call last):\n  File x\nspack.error.FetchError: All fetchers failed\n    https://example.org/a.tar.gz: no such host\n")
open(f"{home}/spack.lock", "w").write('{"concrete_specs": {"`+hash("a")+`": {}, "`+hash("b")+`": {}}}')
failures = b.Failures()
for line in open("`+said+`"):
    failures.read(line.rstrip().replace("HOME", home))
failures.tell()
`)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An engine's own search paths stay, such as Apptainer's for the drivers of the host; and what is
// read twice adds nothing.
func TestTheProfileKeepsSearchPathsOfWhoeverReadsIt(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile.sh")
	text := builder(t, `
os.environ["PATH"] = "/bin"
os.environ.pop("MANPATH", None); os.environ.pop("LD_LIBRARY_PATH", None); os.environ.pop("CC", None)
print(b.profile("export PATH=/opt/view/bin:/bin;\nexport MANPATH=/opt/view/man:;\nexport LD_LIBRARY_PATH=/opt/view/lib;\nexport CC=cc;\n"))
`)
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `. "$0"; . "$0"; echo "$PATH|$MANPATH|$LD_LIBRARY_PATH|$CC"`, profile)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LD_LIBRARY_PATH=/.singularity.d/libs"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if want := "/opt/view/bin:/usr/bin:/bin|/opt/view/man:|/opt/view/lib:/.singularity.d/libs|cc\n"; string(out) != want {
		t.Errorf("got %s, want %s", out, want)
	}
}
