package targets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/terminal"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// compiled is the targets as stock mage compiles them, once for all tests.
var compiled = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "spacktainers-targets-*")
	if err != nil {
		return "", err
	}
	afterAll = append(afterAll, func() { _ = os.RemoveAll(dir) })
	compile := exec.Command("go", "tool", "mage", "-compile", filepath.Join(dir, "mage"))
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		return dir, errors.New(string(out))
	}
	return dir, nil
})

// afterAll is called when all tests have ended.
var afterAll []func()

func TestMain(m *testing.M) {
	status := m.Run()
	for _, f := range afterAll {
		f()
	}
	os.Exit(status)
}

// A blocker is a server that answers until a request matches, and from then on leaves that one and
// all later ones without an answer: what asks is at that stage for as long as a test likes.
type blocker struct {
	http.Handler
	matches func(*http.Request) bool
	reached chan struct{}
	once    sync.Once
	ended   chan struct{}
}

// block starts a server that blocks at the first request that matches.
func block(t *testing.T, inner http.Handler, matches func(*http.Request) bool) (b *blocker, host string) {
	b = &blocker{Handler: inner, matches: matches, reached: make(chan struct{}), ended: make(chan struct{})}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(b.ended) })
	return b, strings.TrimPrefix(server.URL, "http://")
}

func (b *blocker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.matches(r) {
		b.once.Do(func() { close(b.reached) })
	}
	select {
	case <-b.reached:
		go func() { _, _ = io.Copy(io.Discard, r.Body) }() // else its client's end is not seen
		select {
		case <-r.Context().Done():
		case <-b.ended:
		}
	default:
		b.Handler.ServeHTTP(w, r)
	}
}

func method(name, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == name && strings.Contains(r.URL.String(), part) }
}

// A stage is a target at work, and what shows that it is there.
type stage struct {
	args  []string
	env   []string
	until func(*terminal.Terminal)
}

// stoppable makes a repository in which hello-spack is defined, with a build cache beside it.
func stoppable(t *testing.T) (dir, caches string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, caches = t.TempDir(), filepath.Join(root, "testdata", "spack")
	lock, err := os.ReadFile(filepath.Join(caches, "v3-signed", "locks", "env-hello.spack.lock"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "container_definitions/amd64/hello/spack.yaml"), "spack:\n  specs: [hello-spack@1.1]\n")
	writeFile(t, filepath.Join(dir, "container_definitions/amd64/hello/spack.lock"), string(lock))
	if err := os.CopyFS(filepath.Join(dir, "cache"), os.DirFS(filepath.Join(caches, "v3-signed", "cache"))); err != nil {
		t.Fatal(err)
	}
	return dir, caches
}

// program writes a script that stands in for a program.
func program(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
}

// target runs a target to its end without a terminal.
func target(t *testing.T, dir string, args ...string) {
	t.Helper()
	bin, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "mage"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// bucket is a stub with the files of a folder.
func bucket(t *testing.T, folder string) *s3test.Stub {
	stub := s3test.NewStub(t, s3test.Quirks{})
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		key, _ := filepath.Rel(folder, path)
		stub.Set(filepath.ToSlash(key), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return stub
}

// At whatever stage a target is interrupted, it says one sentence and ends with status 130, which it
// does only if it ends before mage loses patience. Nothing that it has started stays, nor half a
// file, and the terminal is as it was.
func TestATargetEndsWhenItIsInterrupted(t *testing.T) {
	s3Env := func(host string) []string {
		return []string{"AWS_ENDPOINT_URL=http://" + host, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x",
			"AWS_CACHE_ACCESS_KEY_ID=x", "AWS_CACHE_SECRET_ACCESS_KEY=x", "AWS_INFRASTRUCTURE_ACCESS_KEY_ID=x", "AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY=x"}
	}
	// blocked is a target that asks a server, which leaves it waiting at some request.
	cache := func(t *testing.T) http.Handler { return bucket(t, "../../testdata/spack/v3-signed/cache") }
	nothing := func(*testing.T) http.Handler { return http.NotFoundHandler() }
	blocked := func(inner func(*testing.T) http.Handler, at func(*http.Request) bool, shows string, args func(host string) []string) func(*testing.T, string) stage {
		return func(t *testing.T, dir string) stage {
			b, host := block(t, inner(t), at)
			return stage{args: args(host), env: s3Env(host), until: func(term *terminal.Terminal) { term.WaitFor(b.reached); term.Wait(shows) }}
		}
	}
	prune := []string{"--lock=container_definitions/amd64/hello/spack.lock", "--max-age=0", "--grace=0", "--keep-last=0", "--max-fraction=1", "--wait=0", "--even-if-written"}
	stages := map[string]func(t *testing.T, dir string) stage{
		"a question": func(t *testing.T, dir string) stage {
			return stage{args: append([]string{"janitor:prune", "--mirror=cache"}, prune...), until: func(term *terminal.Terminal) { term.Wait("[y/N]") }}
		},
		"waiting for clients": func(t *testing.T, dir string) stage {
			return stage{args: append([]string{"janitor:prune", "--mirror=cache", "--yes"}, prune...), until: func(term *terminal.Terminal) { term.Wait("until no client uses the index") }}
		},
		"a listing":         blocked(cache, method("GET", "list-type"), "s3://bucket  reading what must stay", func(string) []string { return append([]string{"janitor:prune", "--mirror=s3://bucket"}, prune...) }),
		"reading manifests": blocked(cache, method("GET", "/manifests/spec/"), "s3://bucket", func(string) []string { return []string{"janitor:verify", "--mirror=s3://bucket"} }),
		"writing an index":  blocked(cache, method("PUT", ""), "", func(string) []string { return []string{"janitor:reindex", "--mirror=s3://bucket"} }),
		"deleting": blocked(cache, method("POST", "delete"), "deleted objects 0 of", func(string) []string {
			return append([]string{"janitor:prune", "--mirror=s3://bucket", "--yes", "--settle=0"}, prune...)
		}),
		"fetching packages": blocked(cache, method("GET", "/blobs/"), "hello linux/amd64  fetched packages 0 of 7", func(string) []string {
			return []string{"containers:build", "hello", "--mirror=s3://bucket", "--base=scratch"}
		}),
		"reading a base image": blocked(nothing, method("GET", "/v2/"), "hello linux/amd64  reading the base image", func(host string) []string {
			return []string{"containers:build", "hello", "--mirror=cache", "--base=" + host + "/base:1"}
		}),
		"sending a blob": func(t *testing.T, dir string) stage {
			target(t, dir, "containers:build", "hello", "--mirror=cache", "--base=scratch")
			return blocked(func(*testing.T) http.Handler { return registry.New(registry.Logger(log.New(io.Discard, "", 0))) }, method("PATCH", ""), " to 127.0.0.1",
				func(host string) []string {
					return []string{"publish:container", "hello", "--registry=" + host + "/", "--release", "--branch=main"}
				})(t, dir)
		},
		"packing a SIF": func(t *testing.T, dir string) stage {
			target(t, dir, "containers:build", "hello", "--mirror=cache", "--base=scratch")
			program(t, filepath.Join(dir, "bin/tar2sqfs"), "#!/bin/sh\necho packing >&2\nexec sleep 1000\n")
			return stage{args: []string{"sif:build", "hello", "--engine=native", "--branch=main"}, env: []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH")},
				until: func(term *terminal.Terminal) { term.Wait("packing") }}
		},
	}
	for name, stage := range stages {
		for _, columns := range []int{80, 200} {
			t.Run(fmt.Sprintf("%s, %d columns", name, columns), func(t *testing.T) {
				t.Parallel()
				dir, _ := stoppable(t)
				interrupt(t, dir, columns, stage(t, dir))
			})
		}
	}
}

// interrupt runs a target until it is at its stage, presses Ctrl-C, and looks at what is left.
func interrupt(t *testing.T, dir string, columns int, s stage) {
	t.Helper()
	bin, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	term := terminal.Start(t, terminal.Program{Args: append([]string{filepath.Join(bin, "mage")}, s.args...), Dir: dir, Env: s.env, Columns: columns})
	s.until(term)
	term.Interrupt()
	began := time.Now()
	term.Wait("cancelling")
	first := time.Since(began)
	status := term.End()
	t.Logf("first word after %v, end after %v", first, time.Since(began))
	shown := term.Output()
	if status != exitInterrupted || strings.Count(shown, interruption) != 1 || strings.Contains(shown, "context canceled") {
		t.Errorf("status %d; shown was:\n%s", status, shown)
	}
	sentence := regexp.MustCompile(`^(INFO|WARN|Error:|Delete) `) // those a terminal wraps
	if wide := slices.DeleteFunc(term.Wide(), sentence.MatchString); len(wide) > 0 {
		t.Errorf("wider than %d columns: %q", columns, wide)
	}
	if term.CursorHidden() {
		t.Error("the cursor is hidden")
	}
	if left := term.Left(); len(left) > 0 {
		t.Errorf("still at work: %q", left)
	}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".part") || strings.HasSuffix(path, ".tmp") {
			t.Errorf("half a file: %s", path)
		}
		return err
	})
}

// buildable adds to a repository base images that are nothing but busybox, and builds that are at
// work, in a step of one of them, for as long as a test likes. It returns the environment in which podman works beside others.
func buildable(t *testing.T, dir, working string) (env []string) {
	t.Helper()
	tooltest.Need(t, "git")
	podman := tooltest.Need(t, "podman")
	busybox, err := os.ReadFile(tooltest.Need(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	storage, err := os.MkdirTemp("", "podman-*") // a short path: see privatePodman
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(storage, "storage.conf")
	writeFile(t, conf, fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = %q\n", "vfs", storage+"/graph", storage+"/run"))
	env = []string{"CONTAINERS_STORAGE_CONF=" + conf}
	run := func(args ...string) string {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if left := run(podman, "ps", "--all", "--external", "--quiet"); left != "" {
			t.Errorf("containers are left in podman: %q", left)
		}
		_ = os.RemoveAll(storage)
	})
	run("tar", "-cf", "empty.tar", "-T", "/dev/null")
	run(podman, "import", "--quiet", "--os=linux", "--arch="+runtime.GOARCH, "empty.tar", "localhost/empty")
	const below = "ARG BASE\nFROM ${BASE}\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"true\"]\n"
	const work = "[\"/bin/busybox\", \"sh\", \"-c\", \"echo at work; sleep 1000 & sleep 1000\"]\n"
	for name, last := range map[string]string{"builder": "ONBUILD RUN " + work, "runtime": "RUN " + work} {
		if name != working {
			last = ""
		}
		writeFile(t, filepath.Join(dir, name, "Dockerfile"), below+last)
		program(t, filepath.Join(dir, name, "busybox"), string(busybox))
	}
	run("git", "init", "--quiet", "--initial-branch=main", "spack")
	run("git", "-C", "spack", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--allow-empty", "--message=Empty")
	writeFile(t, filepath.Join(dir, ConfigFile), "spack: {url: spack, ref: main, repos: []}\nbase_image: localhost/empty\nregistries: []\nplatforms:\n  linux/amd64: {target: x86_64_v3, hosts: [local]}\n")
	return env
}

// Podman leaves what it works in where it is interrupted with its step. So the step ends first, and
// what is killed all the same is removed by the next run.
func TestABuildInPodmanEndsWhenItIsInterrupted(t *testing.T) {
	size.Need(t, size.All)
	for _, c := range []struct {
		working string // the base image with the step
		columns int
		args    []string
	}{
		{"builder", 80, []string{"containers:build", "hello"}},
		{"runtime", 200, []string{"base:build", "runtime"}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			dir, _ := stoppable(t)
			env := buildable(t, dir, c.working)
			logs := filepath.Join(dir, workDir)
			atWork := func(term *terminal.Terminal) { term.WaitFile(logs, "\nat work\n") }
			interrupt(t, dir, c.columns, stage{args: c.args, env: env, until: atWork})
			forget := func() {
				_ = errors.Join(os.RemoveAll(filepath.Join(logs, "build")), os.RemoveAll(filepath.Join(logs, "base")))
			}
			bin, err := compiled()
			if err != nil {
				t.Fatal(err)
			}
			again := terminal.Program{Args: append([]string{filepath.Join(bin, "mage")}, c.args...), Dir: dir, Env: env, Columns: c.columns}
			_, err = exec.LookPath("buildah")
			if others, known := command.Started("podman", "buildah"); err == nil || !known || len(others) > 0 {
				t.Log("what a killed build leaves was not tried: others who use podman here may have made it")
				return
			}
			forget()
			killed := terminal.Start(t, again)
			atWork(killed)
			for _, pid := range killed.Processes() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			killed.End()
			forget()
			next := terminal.Start(t, again)
			next.Wait("removed what a killed build had left in podman")
			atWork(next)
			next.Interrupt()
			if status := next.End(); status != exitInterrupted {
				t.Errorf("status %d; shown was:\n%s", status, next.Output())
			}
		})
	}
}

// What stock mage does with SIGTERM is to end; the target hears of it and cleans up.
func TestATargetEndsWhenItIsTerminated(t *testing.T) {
	bin, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	b, host := block(t, http.NotFoundHandler(), method("GET", "/v2/"))
	dir, _ := stoppable(t)
	term := terminal.Start(t, terminal.Program{Args: []string{filepath.Join(bin, "mage"), "containers:build", "hello", "--mirror=cache", "--base=" + host + "/base:1"}, Dir: dir})
	term.WaitFor(b.reached)
	term.Signal(syscall.SIGTERM)
	if status := term.End(); status != exitInterrupted || !strings.Contains(term.Output(), interruption) {
		t.Errorf("status %d; shown was:\n%s", status, term.Output())
	}
}
