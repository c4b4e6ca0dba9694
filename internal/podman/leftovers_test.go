package podman

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A store is a podman that has working containers, and removes those that it is told to.
type store struct {
	created map[string]time.Time
	removed []string
}

func (s *store) run(_ context.Context, c command.Cmd) error {
	switch {
	case slices.Contains(c.Args, "ps"):
		var list []map[string]any
		for id, created := range s.created {
			command := "buildah"
			if strings.HasPrefix(id, "podman") {
				command = "sh"
			}
			list = append(list, map[string]any{"Id": id, "Command": []string{command}, "Created": created.Unix()})
		}
		return json.NewEncoder(c.Stdout).Encode(list)
	case slices.Contains(c.Args, "rm"):
		for _, id := range c.Args[3:] {
			delete(s.created, id)
			s.removed = append(s.removed, id)
		}
		return nil
	}
	return errors.New("what is that?")
}

// What a killed build has made goes with the next run; what others have in podman stays.
func TestLeftoversOfAKilledBuildAreRemoved(t *testing.T) {
	now := time.Now()
	s := &store{created: map[string]time.Time{"older": now.Add(-time.Hour), "before": now}}
	others := ""
	p := Podman{Run: s.run, Builds: t.TempDir(), Owner: func(time.Time) string { return others }}
	killed, kill := context.WithCancel(t.Context())
	err := p.recorded(killed, func() error {
		s.created["mine"], s.created["podman-run"] = time.Now(), time.Now()
		if n, err := p.RemoveLeftovers(t.Context()); n != 0 || err != nil {
			t.Errorf("of a build that lasts: %d, %v", n, err)
		}
		kill()
		return killed.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.created["later"] = now.Add(time.Hour)
	others = "another build is at work"
	if n, err := p.RemoveLeftovers(t.Context()); n != 0 || len(s.removed) > 0 || err == nil || !strings.Contains(err.Error(), "another build is at work; if nobody needs them: podman rm --force mine") {
		t.Errorf("of what may be somebody else's: %d, %q, %v", n, s.removed, err)
	}
	others = ""
	n, err := p.RemoveLeftovers(t.Context())
	if n != 1 || err != nil || !slices.Equal(s.removed, []string{"mine"}) {
		t.Errorf("removed %d: %q, %v", n, s.removed, err)
	}
	if n, err := p.RemoveLeftovers(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}

// A build that has ended has left nothing, however it ended.
func TestABuildThatEndsIsNotRecordedAnyMore(t *testing.T) {
	s := &store{created: map[string]time.Time{}}
	p := Podman{Run: s.run, Builds: t.TempDir()}
	failed := errors.New("exit status 1")
	if err := p.recorded(t.Context(), func() error { return failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	s.created["somebody's"] = time.Now()
	if n, err := p.RemoveLeftovers(t.Context()); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
}

func TestAWorkingContainerMayBeThatOfPodmanAtWork(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err == nil {
		t.Skip("buildah is installed: all may be its own")
	}
	if _, known := command.Started(); !known {
		t.Skip("it cannot be told here which programs are at work")
	}
	program := filepath.Join(t.TempDir(), "podman") // the kernel calls a process by its file's name
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(sleep, program); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), program, "1000")
	if err := build.Start(); err != nil {
		t.Fatal(err)
	}
	defer build.Wait()         //nolint:errcheck // killed
	defer build.Process.Kill() //nolint:errcheck // it may have ended
	if why := ownerOf(time.Now().Add(time.Minute)); why != "podman that is at work may have made them" {
		t.Errorf("younger than podman: %q", why)
	}
}
