package sifstore

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
)

// locked writes a file that passes for a SIF, made from a lockfile.
func locked(t *testing.T, f sif.Folder, container, version, branch string, lock []byte) sif.Record {
	t.Helper()
	r := fake(t, f, container, version, branch, "amd64", []byte(container+version+branch))
	sum := sha256.Sum256(lock)
	r.Lock = hex.EncodeToString(sum[:])
	path := f.Path(filepath.FromSlash(sif.LockKey(r.Lock)))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, lock, 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLockfilesOfSIFs(t *testing.T) {
	stores(t, func(t *testing.T, store Store, _ *faultproxy.Proxy) {
		f := sif.Folder(t.TempDir())
		one, two := []byte(`{"one": 1}`), []byte(`{"two": 2}`)
		upload(t, store, f, locked(t, f, "tool", "1.0", "", one), today)
		upload(t, store, f, locked(t, f, "tool", "1.1", "gone", two), today)
		upload(t, store, f, locked(t, f, "other", "1.0", "", one), today)
		old := fake(t, f, "old", "1.0", "", "amd64", []byte("old"))
		upload(t, store, f, old, today)
		def := fake(t, f, "def", "1.0", "", "amd64", []byte("def"))
		def.Kind, def.Lock = sif.KindDefinitionFile, ""
		upload(t, store, f, def, today)

		want := [][2]string{{"old__1.0.sif", ""}, {"other__1.0.sif tool__1.0.sif", string(one)}, {"tool__1.1__gone.sif", string(two)}}
		if diff := cmp.Diff(want, lockfiles(t, store)); diff != "" {
			t.Error(diff)
		}

		// What no SIF needs goes, but not while an upload may be about to name it.
		clean := func(now time.Time) {
			t.Helper()
			plan, err := NewCleaning(t.Context(), store, Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, KeepFor: time.Hour, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			if err := plan.Apply(t.Context(), store); err != nil {
				t.Fatal(err)
			}
		}
		before := len(keys(t, store))
		clean(time.Now())
		if got := len(keys(t, store)); got != before-1 {
			t.Errorf("%d objects are there after the SIF of a branch went, not %d", got, before-1)
		}
		clean(time.Now().Add(48 * time.Hour))
		if diff := cmp.Diff(want[:2], lockfiles(t, store)); diff != "" {
			t.Error(diff)
		}
		if got := len(keys(t, store)); got != before-2 {
			t.Errorf("%d objects are there after the lockfile of no SIF went, not %d", got, before-2)
		}
	})
}

func lockfiles(t *testing.T, store Store) (found [][2]string) {
	t.Helper()
	locks, err := Locks(t.Context(), store, Keys{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locks {
		found = append(found, [2]string{strings.Join(l.Files, " "), string(l.Text)})
	}
	return found
}

// A lockfile that somebody has put in the place of another one would make
// packages look unused.
func TestALockfileThatIsAnother(t *testing.T) {
	dir := t.TempDir()
	store, f := file.New(dir), sif.Folder(t.TempDir())
	r := locked(t, f, "tool", "1.0", "", []byte(`{"one": 1}`))
	upload(t, store, f, r, today)
	if err := os.WriteFile(filepath.Join(dir, sif.LockKey(r.Lock)), []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Locks(t.Context(), store, Keys{}); err == nil || !strings.Contains(err.Error(), "another checksum") {
		t.Errorf("it was read: %v", err)
	}
}
