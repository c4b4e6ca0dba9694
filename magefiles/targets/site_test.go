package targets

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// proxied is the version under which moduleProxy offers what is checked out here.
const proxied = "v0.1.0"

// moduleProxy makes a folder that Go takes for a module proxy: our module from here, all others from
// the cache of the machine.
func moduleProxy(t *testing.T) string {
	t.Helper()
	files := clone(t)
	proxy := filepath.Join(t.TempDir(), "proxy")
	at := filepath.Join(proxy, modulePath, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	err := filepath.WalkDir(files, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		below, _ := filepath.Rel(files, path)
		entry, err := w.Create(modulePath + "@" + proxied + "/" + filepath.ToSlash(below))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			_, err = entry.Write(text)
		}
		return err
	})
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(files, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"list": []byte(proxied + "\n"), proxied + ".info": []byte(`{"Version":"` + proxied + `","Time":"2026-01-01T00:00:00Z"}`),
		proxied + ".mod": mod, proxied + ".zip": archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(at, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return proxy
}

// A user calls programs in a folder, and says what they said.
type user struct {
	t   *testing.T
	dir string
	env []string
	id  uint32 // 0: as we are
}

func (u user) call(want int, args ...string) string {
	u.t.Helper()
	cmd := exec.CommandContext(u.t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = u.dir, u.env
	if u.id != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.id, Gid: u.id}}
	}
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		u.t.Fatalf("%s: status %d, want %d: %v\n%s", strings.Join(args, " "), got, want, err, out)
	}
	return string(out)
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// Outside of this module, with a proxy for all there is: a repository is made, knows its targets,
// and builds.
func TestARepositoryOfASiteIsMadeAndBuilds(t *testing.T) {
	size.Need(t, size.All) // unpacks all modules, and compiles the targets
	needModules(t)
	caches, err := filepath.Abs("../../testdata/spack")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	u := user{t: t, dir: home, env: append(os.Environ(),
		"GOPROXY=file://"+moduleProxy(t)+",file://"+strings.TrimSpace(string(modules))+"/cache/download",
		"GONOSUMDB=*", "GOMODCACHE="+filepath.Join(home, "modules"), "GOFLAGS=-mod=mod -trimpath -modcacherw", "GOWORK=off")}
	out := u.call(0, "go", "run", modulePath+"/cmd/spacktainers@"+proxied, "init", "site", "--registry=ghcr.io/org/")
	contains(t, out, "site/container_definitions/amd64/hello/spack.yaml", "made, and ready to build")

	u.dir = filepath.Join(home, "site")
	contains(t, u.call(0, "go", "tool", "spacktainers", "version"), "spacktainers "+proxied)
	contains(t, u.call(0, "go", "tool", "spacktainers", "containers:check"), "all valid definitions=1")
	contains(t, u.call(0, "go", "tool", "mage", "-l"), "containers:build ", "\n  containers ", "janitor:prune ")
	useCache(t, u.dir, caches)
	build := []string{"containers:build", "hello", "--base=scratch", "--mirror=" + filepath.Join(caches, "v3-unsigned", "cache")}
	digest := u.call(0, append([]string{"go", "tool", "mage"}, build...)...)
	contains(t, digest, "assembled container=hello:")

	// In a folder below, results go where they went, and paths are those of that folder.
	program := strings.TrimSpace(u.call(0, "go", "tool", "-n", "spacktainers"))
	u.dir = filepath.Join(u.dir, "container_definitions", "amd64")
	contains(t, u.call(0, append([]string{program}, build...)...), "fetched=0", "../../out/images/hello/linux-amd64")
	contains(t, u.call(0, program, "containers:build", "hello", "--base=scratch", "--mirror="+filepath.Join(caches, "v3-unsigned", "cache"), "--lock=hello/spack.lock"), "assembled")
	contains(t, u.call(2, program, "containers:build", "helo"), `did you mean "hello"`)
	contains(t, u.call(2, program, "containers:build"), "containers:build needs NAME")
	if os.Getuid() == 0 {
		withoutGo(t, program, caches, build)
	}
}

// needModules ends the test where the cache of the machine lacks modules that only the tests of others
// need: for a repository that is made go mod tidy asks for these as well.
func needModules(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "tidy", "-diff")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
	case tooltest.Required():
		t.Fatalf("needs all modules, which go mod tidy -diff brings: %s", out)
	default:
		t.Skip("needs all modules, which go mod tidy -diff brings")
	}
}

// useCache makes hello a container of what the small build cache in caches has.
func useCache(t *testing.T, site, caches string) {
	t.Helper()
	at := filepath.Join(site, "container_definitions", "amd64", "hello")
	lock, err := os.ReadFile(filepath.Join(caches, "v3-unsigned", "locks", "env-hello.spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"spack.yaml": "spack:\n  specs: [hello-spack]\n", "spack.lock": string(lock)} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutGo makes and uses a repository as an ordinary user, to whom the program is all there is.
func withoutGo(t *testing.T, program, caches string, build []string) {
	t.Helper()
	const nobody = 65534
	home := t.TempDir()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(home, "spacktainers")
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(home, "caches"), os.DirFS(caches)); err != nil {
		t.Fatal(err)
	}
	chownAll(t, home, nobody)
	openParents(t, filepath.Join(home, "x"))
	u := user{t: t, dir: home, id: nobody, env: []string{"HOME=" + home, "PATH=/nowhere"}}
	contains(t, u.call(0, program, "init", "site", "--ci=gitlab"), "site/.gitlab-ci.yml", "no Go here")
	contains(t, u.call(1, program, "init", "site", "--ci=gitlab"), "has .gitignore, README.md", "already")
	u.dir = filepath.Join(home, "site")
	contains(t, u.call(0, program, "containers:check"), "all valid definitions=1")
	useCache(t, u.dir, filepath.Join(home, "caches"))
	build[len(build)-1] = "--mirror=" + filepath.Join(home, "caches", "v3-unsigned", "cache")
	contains(t, u.call(0, append([]string{program}, build...)...), "assembled container=hello:", "sha256:")
	contains(t, u.call(1, program, "containers:build", "hello"), "podman: program not found")
	contains(t, u.call(0, program, "sif:job", "hello", "--site=jed"), "#SBATCH")
}
