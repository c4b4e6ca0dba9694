package sifstore

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache/file"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

const stranger = 12345 // another user of the machine

// A planted thing is what another user has put where an install writes or reads. victim is a file
// of ours that must stay as it is.
type planted func(t *testing.T, path, victim string)

var things = map[string]planted{
	"link to a file": func(t *testing.T, path, victim string) { must(t, os.Symlink(victim, path)) },
	"link to a folder": func(t *testing.T, path, victim string) {
		must(t, os.Symlink(filepath.Dir(victim), path))
	},
	"link to nothing": func(t *testing.T, path, victim string) { must(t, os.Symlink(victim+".new", path)) },
	"hard link":       func(t *testing.T, path, victim string) { must(t, os.Link(victim, path)) },
	"FIFO":            func(t *testing.T, path, _ string) { must(t, syscall.Mkfifo(path, 0o666)) },
	"folder":          func(t *testing.T, path, _ string) { must(t, os.Mkdir(path, 0o777), os.Chmod(path, 0o777)) },
	"another's file": func(t *testing.T, path, _ string) {
		needRoot(t)
		must(t, os.WriteFile(path, []byte("content"), 0o644), os.Chown(path, stranger, stranger))
	},
	"another's folder": func(t *testing.T, path, _ string) {
		needRoot(t)
		must(t, os.Mkdir(path, 0o755), os.Chown(path, stranger, stranger))
	},
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if tooltest.Required() {
		t.Fatal("needs root to be two users")
	}
	t.Skip("needs root to be two users")
}

// Another user of the cluster cannot lead an install out of its folder, have it take a file of
// theirs for the one that is asked for, or make it wait.
func TestWhatOthersPlantIsRefused(t *testing.T) {
	stage := stagePrefix + strconv.Itoa(os.Getuid())
	for _, place := range []string{"tool__1.0.sif", "tool.json", "tool.sif", "modules", "modules/tool", "modules/tool/1.0.lua", stage} {
		for name, plant := range things {
			if place == "tool.sif" && strings.HasPrefix(name, "link") {
				continue // our own links look so; tested below
			}
			t.Run(place+" is a "+name, func(t *testing.T) {
				dir, home := t.TempDir(), t.TempDir()
				must(t, os.Chmod(dir, 0o777|os.ModeSticky))
				victim := filepath.Join(home, "victim")
				must(t, os.WriteFile(victim, []byte("content"), 0o644))
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, place)), 0o755))
				plant(t, filepath.Join(dir, place), victim)
				err := inTime(t, func() error { return installInto(t, dir) })
				if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, place)) {
					t.Errorf("got %v", err)
				}
				untouched(t, home, victim)
			})
		}
	}
}

func installInto(t *testing.T, dir string) error {
	store, _ := honest(t)
	in := Installer{From: store, Dir: dir, Modules: ModulesLmod}
	plan, err := in.Plan(t.Context())
	if err != nil {
		return err
	}
	return in.Apply(t.Context(), plan)
}

func inTime(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it waits for a FIFO's other end")
		return nil
	}
}

func untouched(t *testing.T, home, victim string) {
	t.Helper()
	if text, err := os.ReadFile(victim); err != nil || string(text) != "content" {
		t.Errorf("the file elsewhere holds %q, %v", text, err)
	}
	if info, err := os.Stat(victim); err != nil || info.Mode() != 0o644 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if names, err := os.ReadDir(home); err != nil || len(names) != 1 {
		t.Errorf("beside it are %v, %v", names, err)
	}
}

// Links in the place of the link to the newest SIF are replaced, not followed.
func TestPlantedLinksToTheNewestAreReplaced(t *testing.T) {
	for name, plant := range things {
		if !strings.HasPrefix(name, "link") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir, home := t.TempDir(), t.TempDir()
			victim := filepath.Join(home, "victim")
			must(t, os.WriteFile(victim, []byte("content"), 0o644))
			plant(t, filepath.Join(dir, "tool.sif"), victim)
			must(t, installInto(t, dir))
			if at, err := os.Readlink(filepath.Join(dir, "tool.sif")); err != nil || at != "tool__1.0.sif" {
				t.Errorf("it leads to %q, %v", at, err)
			}
			untouched(t, home, victim)
		})
	}
}

// Unfinished files are in a folder that only we can enter; one of another user, or that others may
// enter, is not taken for it.
func TestUnfinishedFilesAreOursAlone(t *testing.T) {
	_, text := honest(t)
	m, err := parseManifest(text, Keys{}, "tool")
	must(t, err)
	stage := stagePrefix + strconv.Itoa(os.Getuid())
	part := filepath.Join(stage, "tool__1.0.sif."+m.Files[0].SHA256[:12]+sif.PartExt)
	for name, plant := range things {
		t.Run("a "+name, func(t *testing.T) {
			dir, home := t.TempDir(), t.TempDir()
			victim := filepath.Join(home, "victim")
			must(t, os.WriteFile(victim, []byte("content"), 0o644), os.Mkdir(filepath.Join(dir, stage), 0o700))
			plant(t, filepath.Join(dir, part), victim)
			if err := inTime(t, func() error { return installInto(t, dir) }); err == nil {
				t.Error("it was taken for an unfinished file of ours")
			}
			untouched(t, home, victim)
			if _, err := os.Lstat(filepath.Join(dir, "tool__1.0.sif")); err == nil {
				t.Error("it was installed")
			}
		})
	}
	t.Run("another's closed folder", func(t *testing.T) {
		needRoot(t)
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, stage), 0o700), os.Chown(filepath.Join(dir, stage), stranger, stranger))
		if err := installInto(t, dir); err == nil || !strings.Contains(err.Error(), "no folder of ours alone") {
			t.Errorf("got %v", err)
		}
	})
	dir := t.TempDir()
	must(t, installInto(t, dir))
	if info, err := os.Stat(filepath.Join(dir, stage)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("our folder has mode %v, %v", info.Mode(), err)
	}
}

// A file that others may write to is not the one that was installed, nor is a manifest.
func TestWhatOthersCanWriteIsReplaced(t *testing.T) {
	store, _ := honest(t)
	dir := t.TempDir()
	in := Installer{From: store, Dir: dir}
	install(t, in, map[string]string{"tool__1.0.sif": StateNew})
	path := filepath.Join(dir, "tool__1.0.sif")
	must(t, os.Chmod(path, 0o777))
	install(t, in, map[string]string{"tool__1.0.sif": StateChanged})
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o755 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	must(t, os.WriteFile(path, []byte("CONTENT"), 0o755), os.Chmod(filepath.Join(dir, "tool.json"), 0o666))
	install(t, in, map[string]string{"tool__1.0.sif": StateChanged})
	must(t, os.Chmod(dir, 0o777))
	if _, err := in.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a folder that everybody may change: %v", err)
	}
}

// While an install runs another user swaps things in the folder: nothing outside of it is written.
func TestSwappingWhileInstalling(t *testing.T) {
	store, _ := honest(t)
	dir, home := t.TempDir(), t.TempDir()
	victim := filepath.Join(home, "victim")
	must(t, os.WriteFile(victim, []byte("content"), 0o644))
	stop := make(chan struct{})
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		for {
			for _, name := range []string{"tool__1.0.sif", "tool.json", "tool.sif", "modules/tool/1.0.lua"} {
				select {
				case <-stop:
					return
				default:
				}
				path := filepath.Join(dir, name)
				_ = os.Remove(path)
				_ = os.Symlink(victim, path)
			}
		}
	}()
	for range 20 {
		in := Installer{From: store, Dir: dir, Modules: ModulesLmod}
		plan, err := in.Plan(t.Context())
		if err == nil {
			_ = in.Apply(t.Context(), plan)
		}
	}
	close(stop)
	<-swapped
	untouched(t, home, victim)
}

// sif:clean of a folder removes names, and never what they lead to.
func TestCleaningFollowsNoLinks(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	must(t, installInto(t, dir))
	victim := filepath.Join(home, "victim")
	must(t, os.WriteFile(victim, []byte("content"), 0o644))
	must(t, os.Symlink(victim, filepath.Join(dir, "tool__0.9.sif")), os.Symlink(home, filepath.Join(dir, "incoming")))
	plan, err := NewCleaning(t.Context(), file.New(dir), Keys{}, Retention{Branches: []string{"main"}, KeepLast: 1, Now: today.AddDate(1, 0, 0)})
	if err == nil {
		_ = plan.Apply(t.Context(), file.New(dir))
	}
	untouched(t, home, victim)
}

// What has just been put in the place of a folder is not waited for.
func TestAFIFOIsNotOpenedAsAFolder(t *testing.T) {
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "x"), 0o666))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	if err := inTime(t, func() error { _, err := openFolder(root, "x"); return err }); err == nil {
		t.Error("a FIFO is opened as a folder")
	}
	must(t, root.Mkdir("y", 0o755))
	y, err := openFolder(root, "y")
	must(t, err)
	must(t, y.Close())
}
