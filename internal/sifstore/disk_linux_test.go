package sifstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

func TestAFullDiskLosesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		if tooltest.Required() {
			t.Fatal("needs root for a small disk")
		}
		t.Skip("needs root for a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	f, store := sif.Folder(t.TempDir()), file.New(t.TempDir())
	old := fake(t, f, "tool", "1.0", "", "amd64", []byte("the old one"))
	upload(t, store, f, old, today)
	in := Installer{From: store, Dir: dir}
	install(t, in, map[string]string{old.File: StateNew})

	big := fake(t, f, "tool", "1.0", "", "amd64", bytes.Repeat([]byte("big"), 1<<20))
	upload(t, store, f, big, today)
	plan, err := in.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = in.Apply(t.Context(), plan)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no room for its 3145728 bytes in "+dir) {
		t.Errorf("install: %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, old.File)); string(got) != "the old one" {
		t.Errorf("the old file holds %d bytes", len(got))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*"+sif.PartExt)); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}

	// The same for a folder that is uploaded to.
	small := file.New(dir)
	u := Uploader{From: f, To: small, Now: time.Now}
	if sent, err := u.Plan(t.Context(), big); err != nil || !errors.Is(u.Apply(t.Context(), sent), syscall.ENOSPC) {
		t.Errorf("upload: %v", err)
	}
	holds(t, small, old.File, "the old one")
}
