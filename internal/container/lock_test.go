package container

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// Where roots cannot be told from their texts, the lockfile that was made from the same settings is
// believed.
func TestARecordedLockfileIsBelieved(t *testing.T) {
	unclear := errors.New("it cannot be told")
	c := withLock(t, lockText(t))
	c.order = func(*buildcache.Lockfile) ([]int, error) { return nil, unclear }
	if err := c.SetLock(lockText(t)); !errors.Is(err, unclear) {
		t.Errorf("without a record: %v", err)
	}
	recorded := c.RecordedLock()
	if err := c.SetLock(recorded); err != nil || len(c.Roots) != len(c.Lock.Roots) || len(c.LockNotes()) > 0 {
		t.Errorf("recorded: %v, %v", err, c.LockNotes())
	}
	if !bytes.Equal(c.LockText, recorded) {
		t.Error("the lockfile is not what was read")
	}
	for name, edit := range map[string]func(*Container){
		"settings":      func(c *Container) { c.Spack = []byte("spack: {view: false}") },
		"included file": func(c *Container) { c.environment = []image.Input{{Kind: "file", Name: "x", Digest: "1"}} },
	} {
		other := c
		edit(&other)
		if err := other.SetLock(recorded); !errors.Is(err, unclear) {
			t.Errorf("%s changed: %v", name, err)
		}
		other.order = nil
		if err := other.SetLock(recorded); err != nil || len(other.LockNotes()) != 1 || !strings.Contains(other.LockNotes()[0], "other settings") {
			t.Errorf("%s changed: %v, %q", name, err, other.LockNotes())
		}
	}
	for _, damaged := range []string{`{"spacktainers": 1, `, `{"spacktainers": {"environment": 1}, `} {
		if err := c.SetLock(append([]byte(damaged), lockText(t)[1:]...)); !errors.Is(err, unclear) {
			t.Errorf("%s: %v", damaged, err)
		}
	}
}

func TestALockfileWithoutRootsIsRefused(t *testing.T) {
	text := []byte(`{"_meta":{"file-type":"spack-lockfile","lockfile-version":5,"specfile-version":4},"roots":[],"concrete_specs":{}}`)
	var c Container
	if err := c.SetLock(text); err == nil || !strings.Contains(err.Error(), "no roots") {
		t.Error(err)
	}
}

func TestBranchesInALockfileAreNoted(t *testing.T) {
	commit := strings.Repeat("0a", 20)
	for version, moves := range map[string]bool{
		"develop": true, "main": true, "main=1.0": true, "git.topic=1.0": true, "git.v1.0": true,
		"1.0": false, "git." + commit + "=1.0": false, "git." + commit: false, commit: false, "mainline-1": false,
	} {
		if got := isMoving(&buildcache.Spec{Version: version}); got != moves {
			t.Errorf("%s: %v, want %v", version, got, moves)
		}
	}
	for name, spec := range map[string]buildcache.Spec{
		"commit":   {Parameters: map[string]any{"commit": commit}},
		"external": {External: true},
		"develop":  {Parameters: map[string]any{"dev_path": "/src"}},
	} {
		if spec.Version = "develop"; isMoving(&spec) {
			t.Errorf("%s moves", name)
		}
	}
	c := withLock(t, edited(t, "qs-block", func(node map[string]any) { node["version"] = "develop" }))
	if notes := c.LockNotes(); len(notes) != 1 || !strings.Contains(notes[0], "qs-block@develop") {
		t.Errorf("got %q", notes)
	}
	if notes := withLock(t, lockText(t)).LockNotes(); len(notes) > 0 {
		t.Errorf("got %q", notes)
	}
}
