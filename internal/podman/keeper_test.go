package podman

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newKeeper(t *testing.T) *Keeper {
	t.Helper()
	k, err := NewKeeper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// call does what a step does: it says the pass, and reads what comes.
func call(t *testing.T, addr, pass string) (net.Conn, map[string][]byte, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, pass+"\n"); err != nil {
		return nil, nil, err
	}
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return nil, nil, err
	}
	var credentials map[string][]byte
	return c, credentials, json.Unmarshal(line, &credentials)
}

// passOf reads what podman is given.
func passOf(t *testing.T, args []string) (addr, pass string) {
	t.Helper()
	if len(args) != 1 || !strings.HasPrefix(args[0], "--secret=id=keeper,src=") {
		t.Fatalf("got %q", args)
	}
	text, err := os.ReadFile(strings.TrimPrefix(args[0], "--secret=id=keeper,src="))
	if err != nil {
		t.Fatal(err)
	}
	addr, pass, _ = strings.Cut(strings.TrimSpace(string(text)), " ")
	return addr, pass
}

// Regression 14 of the predecessor, and more: what podman gets as a secret, and may leave on its disk, is none.
func TestPodmanGetsAPassAndAStepTheCredentialsOnce(t *testing.T) {
	k := newKeeper(t)
	var addr, pass string
	err := k.with(t.Context(), k.Addr(), map[string][]byte{"mirror_secret_access_key": []byte("canary")}, func(_ context.Context, args []string) error {
		addr, pass = passOf(t, args)
		if strings.Contains(pass, "canary") {
			t.Errorf("the pass is a credential: %s", pass)
		}
		if _, _, err := call(t, addr, "another"); err == nil {
			t.Error("any pass is good")
		}
		_, got, err := call(t, addr, pass)
		if err != nil || string(got["mirror_secret_access_key"]) != "canary" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, _, err := call(t, addr, pass); err == nil {
			t.Error("the pass is good twice")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = k.with(t.Context(), k.Addr(), nil, func(_ context.Context, args []string) error {
		addr, pass = passOf(t, args)
		return errors.New("exit status 1")
	})
	if err == nil {
		t.Error("an error is lost")
	}
	if _, _, err := call(t, addr, pass); err == nil {
		t.Error("the pass is good after the build")
	}
}

// Podman that is interrupted leaves its step at work. So the step ends first, which podman tidies up after.
func TestAStepEndsBeforePodmanIsInterrupted(t *testing.T) {
	k := newKeeper(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := k.with(ctx, k.Addr(), map[string][]byte{}, func(ctx context.Context, args []string) error {
		addr, pass := passOf(t, args)
		step, _, err := call(t, addr, pass)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = step.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := step.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the step is not told: %v", err)
		}
		if ctx.Err() != nil {
			t.Error("podman is interrupted at once")
		}
		<-ctx.Done() // it does not end by itself
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSecretsAreReadBeforeAnythingIsBuilt(t *testing.T) {
	public := filepath.Join(t.TempDir(), "key.pub")
	write(t, public, "public")
	got, err := Secrets{MirrorSecret: "canary", SigningPublic: public}.read()
	if err != nil || len(got) != 2 || string(got["signing_public"]) != "public" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := (Secrets{SigningPrivate: "/nonexistent/key"}).read(); err == nil {
		t.Error("a key that is not there is no error")
	}
}
