package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sh(script string) Cmd { return Cmd{Args: []string{"sh", "-c", script}} }

func TestExecStreamsBothOutputsToTheLog(t *testing.T) {
	var log bytes.Buffer
	if err := Exec(&log)(t.Context(), sh("echo out; echo err >&2")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"out\n", "err\n"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %q", log.String(), want)
		}
	}
}

func TestExecAddsToTheEnvironmentAndRunsInDir(t *testing.T) {
	t.Setenv("FROM_PARENT", "kept")
	c := sh(`cat; echo "$FROM_PARENT $ADDED $(pwd)"`)
	c.Dir, c.Env, c.Stdin = t.TempDir(), []string{"ADDED=new"}, strings.NewReader("stdin ")
	got, err := Output(t.Context(), Exec(nil), c)
	if want := "stdin kept new " + c.Dir; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestACleanEnvironmentHasNoSecrets(t *testing.T) {
	secrets := []string{"AWS_ACCESS_KEY_ID", "AWS_CACHE_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GHCR_TOKEN", "RELEASES_PASSWORD", "AWS_INFRASTRUCTURE_SECRET_ACCESS_KEY", "GITLAB_API_TOKEN", "CI_JOB_TOKEN", "DOCKERHUB_PASSWORD",
		"COSIGN_PASSWORD", "SIF_KEY_PASSPHRASE", "SPACK_DEPLOYMENT_KEY_PRIVATE", "SPACK_DEPLOYMENT_KEY_PRIVATE_CONTENT", "SPACKTAINERS_GIT_CREDENTIALS"}
	for _, name := range secrets {
		t.Setenv(name, "canary")
	}
	t.Setenv("SSH_AUTH_SOCK", "socket")
	c := sh("env")
	t.Setenv("APPTAINER_DOCKER_PASSWORD", "own")
	c.Clean, c.Keep, c.Env = true, []string{"APPTAINER_"}, []string{"GIVEN_TOKEN=given"}
	got, err := Output(t.Context(), Exec(nil), c)
	if err != nil || strings.Contains(got, "canary") || !strings.Contains(got, "SSH_AUTH_SOCK=socket") || !strings.Contains(got, "GIVEN_TOKEN=given") || !strings.Contains(got, "APPTAINER_DOCKER_PASSWORD=own") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestExecWithoutStdinDoesNotWaitForAnAnswer(t *testing.T) {
	if got, err := Output(t.Context(), Exec(nil), Cmd{Args: []string{"cat"}}); err != nil || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestArgumentsReachTheProgramAsTheyAre(t *testing.T) {
	got, err := Output(t.Context(), Exec(nil), Cmd{Args: []string{"printf", "%s|", "a b", "$HOME", "*", `"'`, ""}})
	if want := `a b|$HOME|*|"'||`; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestErrorCarriesExitStatusAndTheLastLines(t *testing.T) {
	err := Exec(nil)(t.Context(), sh(`i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo "line $i" >&2; done; exit 7`))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if e.ExitCode != 7 {
		t.Errorf("exit code %d, want 7", e.ExitCode)
	}
	if lines := strings.Split(e.Tail, "\n"); len(lines) != tailLines || lines[0] != "line 81" || lines[19] != "line 100" {
		t.Errorf("tail %q, want lines 81 to 100", lines)
	}
	if !strings.Contains(err.Error(), "exit status 7:\n\tline 81\n") {
		t.Errorf("message %q", err)
	}
}

func TestErrorWithOneLineReadsAsOneSentence(t *testing.T) {
	err := Exec(nil)(t.Context(), Cmd{Args: []string{"sh", "-c", "echo DENIED >&2; exit 1"}})
	if want := `run sh -c 'echo DENIED >&2; exit 1': exit status 1: DENIED`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestTailIsBoundedInBytes(t *testing.T) {
	var end tail
	for i := range 1000 {
		fmt.Fprintf(&end, "%d %s\n", i, strings.Repeat("x", 1000))
	}
	if got := end.String(); len(got) > tailBytes || !strings.HasPrefix(got, "996 ") {
		t.Errorf("%d bytes, starting %.10q", len(got), got)
	}
	end = tail{}
	fmt.Fprint(&end, strings.Repeat("y", 50000))
	if got := end.String(); len(got) != tailBytes {
		t.Errorf("%d bytes of an endless line, want %d", len(got), tailBytes)
	}
	end = tail{}
	fmt.Fprint(&end, "10 %\r50 %\rdone\r\nfailed\n")
	if got := end.String(); got != "done\nfailed" {
		t.Errorf("got %q", got)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	for name, run := range map[string]func() error{
		"Exec":     func() error { return Exec(nil)(t.Context(), Cmd{Args: []string{"no-such-program"}}) },
		"LookPath": func() error { _, err := LookPath("no-such-program"); return err },
	} {
		err := run()
		if !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "no-such-program: program not found") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAMissingDirectoryIsNotAMissingProgram(t *testing.T) {
	c := sh("true")
	c.Dir = filepath.Join(t.TempDir(), "gone")
	err := Exec(nil)(t.Context(), c)
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestCancelLetsTheProgramCleanUp(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "cleaned")
	ctx, cancel := context.WithCancel(t.Context())
	c := sh(`trap 'echo yes >"$MARK"; exit 3' INT; echo ready; while :; do sleep 0.05; done`)
	c.Env, c.Stdout = []string{"MARK=" + mark}, writerFunc(func(p []byte) { cancel() })
	start := time.Now()
	err := Exec(nil)(ctx, c)
	var e *Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.ExitCode != 3 {
		t.Errorf("got %v, want exit 3 because the context was cancelled", err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("the interrupted program could not clean up")
	}
	if d := time.Since(start); d >= killAfter {
		t.Errorf("took %v: it was killed, not interrupted", d)
	}
}

func TestCancelKillsWhatDoesNotListen(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a program may clean up")
	}
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	c := sh(`trap '' INT; echo ready; while :; do sleep 0.05; done`)
	c.Stdout = writerFunc(func(p []byte) { cancel() })
	start := time.Now()
	err := Exec(nil)(ctx, c)
	if d := time.Since(start); !errors.Is(err, context.Canceled) || d < killAfter || d > 5*killAfter {
		t.Errorf("%v after %v", err, d)
	}
}

func TestExecIsNotHeldUpByWhatAProgramLeavesRunning(t *testing.T) {
	t.Parallel()
	start := time.Now()
	if err := Exec(nil)(context.Background(), sh("sleep 60 & echo done")); err != nil {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestOutputKeepsWhatTheLogHides(t *testing.T) {
	var log bytes.Buffer
	c := sh("echo hunter2; echo hunter2 >&2; exit 1")
	c.Secrets = []string{"hunter2\n"}
	out, err := Output(t.Context(), Exec(&log), c)
	if out != "hunter2" {
		t.Errorf("the caller got %q", out)
	}
	if s := log.String() + err.Error(); strings.Contains(s, "hunter2") || !strings.Contains(s, "***") {
		t.Errorf("log and error: %q", s)
	}
}

func TestTracedPrintsWhatAShellWouldRunAgain(t *testing.T) {
	var trace bytes.Buffer
	c := Cmd{
		Args:    []string{"sh", "-c", `printf '%s\n' "$A" "$1"`, "sh", "it's $5 = s3cr3t"},
		Dir:     t.TempDir(),
		Env:     []string{"A=a b", "GHCR_TOKEN=canary"},
		Secrets: []string{"s3cr3t"},
	}
	want, err := Output(t.Context(), Traced(&trace, Exec(nil)), c)
	if err != nil {
		t.Fatal(err)
	}
	if s := trace.String(); strings.Contains(s, "canary") || strings.Contains(s, "s3cr3t") {
		t.Fatalf("a secret in %s", s)
	}
	line := strings.TrimPrefix(trace.String(), "+ ")
	got, err := Output(t.Context(), Exec(nil), sh(line))
	if want = strings.ReplaceAll(want, "s3cr3t", "***"); err != nil || got != want {
		t.Errorf("%s gave %q, %v, want %q", line, got, err, want)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }
