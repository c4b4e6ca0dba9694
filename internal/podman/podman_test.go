package podman

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/command"

	"github.com/openbraininstitute/spacktainers/internal/container"
)

// said is podman as a test wants it: what it answers to the words of a command line.
type said map[string]string

func (s said) run(_ context.Context, c command.Cmd) error {
	line := strings.Join(c.Args, " ")
	for words, answer := range s {
		if strings.Contains(line, words) {
			if text, isError := strings.CutPrefix(answer, "error: "); isError {
				return &command.Error{Args: c.Args, ExitCode: 125, Tail: text}
			}
			if c.Stdout != nil {
				_, err := io.WriteString(c.Stdout, answer)
				return err
			}
			return nil
		}
	}
	return fmt.Errorf("unexpected: %s", line)
}

func TestInspectTellsNoImageFromNoAnswer(t *testing.T) {
	p := Podman{Run: said{"image inspect": "error: Error: inspecting object: x: image not known"}.run}
	found, err := p.inspect(t.Context(), "x", "label")
	if err != nil || found.ID != "" {
		t.Errorf("got %v, %v", found, err)
	}
	p.Run = said{"image inspect": "error: Cannot connect to Podman"}.run
	if _, err := p.inspect(t.Context(), "x", "label"); err == nil {
		t.Error("no error where podman does not answer")
	}
	p.Run = said{"image inspect": "abc sha256:def 123\n"}.run
	found, err = p.inspect(t.Context(), "x", "label")
	if want := (inspected{"abc", "sha256:def", "123"}); err != nil || found != want {
		t.Errorf("got %v, %v, want %v", found, err, want)
	}
}

// Whatever podman is asked for: its environment is shown to who looks, and given on to what it starts.
func TestPodmanIsGivenNoSecrets(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "podman"), []byte("#!/bin/sh\necho \"abc def $GHCR_TOKEN$COSIGN_PASSWORD$REGISTRY_AUTH_FILE\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("GHCR_TOKEN", "canary")
	t.Setenv("COSIGN_PASSWORD", "canary")
	t.Setenv("REGISTRY_AUTH_FILE", "logins")
	found, err := Podman{Run: command.Exec(nil)}.inspect(t.Context(), "x", "label")
	if want := (inspected{"abc", "def", "logins"}); err != nil || found != want {
		t.Errorf("got %v, %v, want %v", found, err, want)
	}
}

func TestBaseImagesAreBuiltInDockersFormat(t *testing.T) {
	b := Base{Name: Builder, Platform: "linux/arm64", From: "debootstrap:bookworm", Packages: []string{"git", "python3"},
		Spack: &Source{URL: "https://example.org/spack.git", Commit: "c1"}, Repos: []Source{{URL: "https://example.org/repo.git", Commit: "c2"}, {URL: "/home/jane/repo", Commit: "c3"}}}
	c := b.buildCmd(Podman{URL: "unix:///s", Chroot: true}, "ctx", "key", "[]", false)
	want := []string{
		"podman", "--url=unix:///s", "--runtime=/bin/false", "build", "--format=docker", "--network=host", "--platform=linux/arm64",
		"--build-arg=BASE=localhost/spacktainers/debootstrap:bookworm-linux-arm64",
		"--label=org.openbraininstitute.spacktainers.build-key=key",
		"--label=org.openbraininstitute.spacktainers.inputs=[]",
		"--label=org.opencontainers.image.title=builder",
		"--tag=localhost/spacktainers/builder:linux-arm64",
		"--isolation=chroot",
		"--build-arg=PACKAGES=git python3",
		"--label=org.openbraininstitute.spacktainers.source.0=https://example.org/spack.git@c1",
		"--label=org.openbraininstitute.spacktainers.source.1=https://example.org/repo.git@c2",
		"--label=org.openbraininstitute.spacktainers.source.2=local@c3", // whose folder it was is nobody's business
		"ctx",
	}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Error(diff)
	}
}

func TestContainersAreBuiltWithEveryStage(t *testing.T) {
	c := Container{Container: container.Container{Name: "hello", Platform: "linux/amd64", Strip: false}, Scope: "release"}
	got := c.buildCmd(Podman{}, "ctx", "install", []string{"--secret=id=x,src=/f"}, []string{"--label=a=b"})
	want := []string{
		"podman", "build", "--format=docker", "--network=host", "--platform=linux/amd64", "--pull=never", "--skip-unused-stages=false",
		"--build-arg=STEP=install", "--build-arg=SCOPE=release", "--build-arg=STRIP=false",
		"--secret=id=x,src=/f", "--label=a=b", "--tag=localhost/spacktainers/hello-linux-amd64:latest", "ctx",
	}
	if diff := cmp.Diff(want, got.Args); diff != "" {
		t.Error(diff)
	}
}

// What goes into the Dockerfile is data: no byte of it becomes an instruction, a variable or
// another word.
func TestTheDockerfileIsMadeOfData(t *testing.T) {
	c := Container{Container: container.Container{
		Name: "hello", Platform: "linux/amd64",
		Files:    []container.File{{Source: "x", Target: "/opt/a b"}, {Source: "y", Target: `/opt/$HOME\"'`}},
		Env:      map[string]string{"B": "1", "A": "a \"b\" $HOME \\\nRUN evil"},
		Epilogue: []byte("\nRUN true\n\n"),
	}}
	want := `# hello for linux/amd64, as mage containers:build wrote it.
FROM b1 AS builder
FROM r1
COPY --from=builder /etc/debian_version /etc/debian_version
COPY ["files/0","/opt/a b"]
COPY ["files/1","/opt/\\$HOME\\\\\"'"]
ENV A="a \"b\" \$HOME \\\nRUN evil"
ENV B="1"

RUN true
`
	if diff := cmp.Diff(want, string(c.dockerfile(containerTemplate, "b1", "r1"))); diff != "" {
		t.Error(diff)
	}
}

// Without the environment's own view the runtime's PATH names nothing that is there.
func TestProgramsAreFoundWhereverTheViewIs(t *testing.T) {
	for view, want := range map[string]string{
		"":                                     "",
		"  view: true\n":                       "",
		"  view: /opt/view/\n":                 "",
		"  view: /opt/other\n":                 `ENV PATH="/opt/other/bin":$PATH`,
		"  view: {default: {root: views/d}}\n": `ENV PATH="/opt/spack-environment/views/d/bin":$PATH`,
		"  view: false\n":                      `ENV PATH="/opt/spack-environment/bin":$PATH`,
		"  view: {other: {root: /opt/view}}\n": `ENV PATH="/opt/spack-environment/bin":$PATH`,
		"  view: {default: {root: /o, link_type: copy}}\n": `ENV PATH="/o/bin":$PATH`,
	} {
		c := Container{Container: container.Container{Name: "hello", Platform: "linux/amd64", Spack: []byte("spack:\n  specs: [a]\n" + view)}}
		text := string(c.dockerfile(containerTemplate, "b1", "r1"))
		_, got, _ := strings.Cut(text, "/etc/debian_version /etc/debian_version\n")
		if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" {
			t.Errorf("%q: %s", view, diff)
		}
	}
}

func TestAReasonOfSpackIsShownInsteadOfTheEndOfTheLog(t *testing.T) {
	log := t.TempDir() + "/log"
	write(t, log, `STEP 3/4: RUN spacktainers lock
==> Starting concretization
==> Error: failed to concretize for the following reasons:

   1. Cannot select a single "version" for package "py-libsonata"
   2. Cannot satisfy 'py-libsonata@2:'
spacktainers: spack -e /opt/spack-environment concretize …: exit status 1
Error: building at STEP "RUN": exit status 1
`)
	f, err := readFailure(log)
	if err != nil {
		t.Fatal(err)
	}
	want := "Spack gives up: failed to concretize for the following reasons:\n\t1. Cannot select a single \"version\" for package \"py-libsonata\"\n\t2. Cannot satisfy 'py-libsonata@2:'\nall of it: "
	if diff := cmp.Diff(want, f.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestTheTunnelIsOpenSSHAndAsksNothing(t *testing.T) {
	c, err := tunnelCmd("ssh://me@host:2222", "/l.sock", "/r.sock", "127.0.0.1:99")
	want := []string{
		"ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ExitOnForwardFailure=yes",
		"-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=30", "-o", "ControlPath=none", "-o", "LogLevel=INFO",
		"-L", "/l.sock:/r.sock", "-R", "127.0.0.1:0:127.0.0.1:99",
		"-p", "2222", "-l", "me", "--", "host",
		"exec sh -c 'umask 077; exec 3<&0; (read -r _ <&3 || sleep 3; kill $$) >/dev/null 2>&1 & exec podman system service --time=1800 unix:///r.sock 3<&-'",
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Error(diff)
	}
}

func TestHostsThatAreNoneAreRefused(t *testing.T) {
	for _, host := range []string{"", "remote", "ssh://", "http://host", "ssh://user:password@host", "ssh://-oProxyCommand=x", "ssh://-x@host", "ssh://$(id)@host", "ssh://a;b@host", "ssh://host/path"} {
		if CheckHost(host) == nil {
			t.Errorf("%q is taken for a host", host)
		}
	}
	for _, host := range []string{"local", "emulate", "ssh://host", "ssh://user@host:22", "ssh://[::1]:22"} {
		if err := CheckHost(host); err != nil {
			t.Error(err)
		}
	}
}

func TestDialSaysWhatIsWrongWithAHost(t *testing.T) {
	for says, want := range map[string]string{
		"Host key verification failed.":                          "its key is not known",
		"Permission denied (publickey).":                         "it takes none of your keys",
		"ssh: connect to host x port 22: Connection refused":     "no server listens there",
		"sh: 1: exec: podman: not found":                         "it has no podman",
		"Error: remote port forwarding failed for listen port 0": "it forwards no ports",
	} {
		_, err := Dial(t.Context(), Podman{Run: said{"ssh": "error: " + says}.run}, "ssh://host")
		if !IsHostError(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", says, err)
		}
	}
}

func TestPinTakesTheCommitThatATagIsFor(t *testing.T) {
	a, b, c := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	listing := a + "\trefs/heads/v1\n" + b + "\trefs/tags/v1\n" + c + "\trefs/tags/v1^{}\n"
	s, err := Source{URL: "https://example.org/x.git", Ref: "v1"}.Pin(t.Context(), said{"ls-remote": listing}.run)
	if err != nil || s.Commit != c {
		t.Errorf("got %q, %v", s.Commit, err)
	}
	if _, err = (Source{URL: "https://example.org/x.git", Ref: "v2"}).Pin(t.Context(), said{"ls-remote": listing}.run); err == nil {
		t.Error("a ref that does not exist is pinned")
	}
}

func TestSaveStopsPodmanWhenTheDiskIsFull(t *testing.T) {
	done := make(chan error, 1)
	go func() {
		done <- Podman{}.save(func(w io.Writer) error {
			_, err := io.Copy(w, bytes.NewReader(make([]byte, 1<<20)))
			return err
		}, "/nonexistent")
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("save hangs")
	}
}

func TestFailuresNamePackagesAndTheEndOfTheirLogs(t *testing.T) {
	dir := t.TempDir()
	log := dir + "/log"
	write(t, log, "==> Installing x\nspacktainers: failed: x-1.0-abc\nspacktainers: | cc x.c\nspacktainers: |\nspacktainers: | error\nspacktainers: failed: y-2-def\nError: building at STEP \"RUN\": exit status 1\n")
	e := Engine{Builder: BuiltBase{ID: "b1"}, Podman: Podman{Env: []string{"CONTAINERS_CONF=/c"}, Run: said{"version": "4.3"}.run}}
	err := e.explain(t.Context(), Container{Mirror: buildcache.Location{Bucket: "cache"}}, dir, log, errors.New("exit status 1"))
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v", err)
	}
	want := []FailedPackage{{Name: "x-1.0", Hash: "abc", Tail: []string{"cc x.c", "", "error"}}, {Name: "y-2", Hash: "def"}}
	if diff := cmp.Diff(want, f.Packages); diff != "" {
		t.Error(diff)
	}
	reproduce := "CONTAINERS_CONF=/c podman run --rm --interactive --tty --network=host --volume=" + dir + ":/context:ro --env=MIRROR=s3://cache --env=AWS_ACCESS_KEY_ID --env=AWS_SECRET_ACCESS_KEY b1 spacktainers reproduce abc"
	if f.Reproduce != reproduce {
		t.Errorf("got %s, want %s", f.Reproduce, reproduce)
	}
	e.Podman.Chroot = true
	if got := e.reproduce(Container{}, dir, f.Packages[0]); got != "" {
		t.Errorf("a shell where no container can be started: %s", got)
	}
	e.Podman.Run = said{"version": "error: Cannot connect"}.run
	if err := e.explain(t.Context(), Container{Mirror: buildcache.Location{Bucket: "cache"}}, dir, log, errors.New("exit status 125")); !IsHostError(err) {
		t.Errorf("podman does not answer, and it is not the host's failure: %v", err)
	}
}

// Interrupted, mmdebstrap waits for what it has started, is killed, and leaves a key ring and all of
// the system. Others must be able to work where it works: apt does as a user of its own.
func TestWhatMmdebstrapLeavesIsRemoved(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\nstat -c %a $TMPDIR\nmkdir $TMPDIR/mmdebstrap.gpghome.x\necho key >$TMPDIR/mmdebstrap.gpghome.x/ring\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "mmdebstrap"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	interrupted := func(ctx context.Context, c command.Cmd) error {
		defer cancel()
		return command.Exec(&log)(ctx, c)
	}
	if err := (System{Suite: "sid", Platform: "linux/arm64"}).Write(ctx, interrupted, "sid.tar"); err == nil {
		t.Error("no error")
	}
	if got := strings.TrimSpace(log.String()); got != "1777" {
		t.Errorf("it works in a folder of mode %s, want 1777", got)
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// Debian sid of a mirror that stands still has a release file that has expired,
// as an air-gapped site's has: without the option mmdebstrap refuses it.
func TestDebootstrapTakesAMirrorThatStandsStill(t *testing.T) {
	got := strings.Join(System{Suite: "sid", Platform: "linux/arm64"}.cmd("sid.tar").Args, " ")
	want := `mmdebstrap --quiet --variant=minbase --include=ca-certificates --aptopt=Acquire::Check-Valid-Until "false" --architectures=arm64 -- sid sid.tar`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
