package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const platform = "linux/amd64"

// put writes a layout that holds the given text.
func put(t *testing.T, tree Tree, text string) {
	t.Helper()
	_, err := tree.Create("x", platform, []byte("lock "+text), func(dir string) (Record, error) {
		return Record{Name: "x", Platform: platform, Version: text, Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}},
			os.WriteFile(filepath.Join(dir, "content"), []byte(text), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, tree Tree) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(tree.Dir("x", platform), "content"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestANewImageTakesThePlaceOfTheOldOne(t *testing.T) {
	tree := Tree(t.TempDir())
	put(t, tree, "one")
	put(t, tree, "two")
	record, err := tree.Read("x", platform)
	if err != nil || record.Version != "two" || content(t, tree) != "two" {
		t.Errorf("record %+v, content %q, %v", record, content(t, tree), err)
	}
	lock, err := os.ReadFile(tree.LockFile("x", platform))
	if err != nil || string(lock) != "lock two" {
		t.Errorf("lockfile %q, %v", lock, err)
	}
	records, err := tree.List()
	if err != nil || len(records) != 1 || records[0].Version != "two" {
		t.Errorf("list %+v, %v", records, err)
	}
}

func TestAFailedBuildLeavesTheOldImageAlone(t *testing.T) {
	tree := Tree(t.TempDir())
	put(t, tree, "one")
	broken := errors.New("broken")
	_, err := tree.Create("x", platform, nil, func(dir string) (Record, error) {
		return Record{}, errors.Join(broken, os.WriteFile(filepath.Join(dir, "content"), []byte("half"), 0o644))
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if record, err := tree.Read("x", platform); err != nil || record.Version != "one" || content(t, tree) != "one" {
		t.Errorf("record %+v, content %q, %v", record, content(t, tree), err)
	}
	if _, err := os.Stat(tree.Dir("x", platform) + ".part"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the half-written layout is still there")
	}
}

// A full disk shows only when the record is written, or something is in the way.
func TestAFailedHandOverBringsTheOldImageBack(t *testing.T) {
	tree := Tree(t.TempDir())
	put(t, tree, "one")
	_, err := tree.Create("x", platform, nil, func(dir string) (Record, error) {
		// The lockfile cannot be written any more.
		return Record{Name: "x", Platform: platform, Version: "two"}, os.MkdirAll(tree.LockFile("x", platform)+".part/in the way", 0o755)
	})
	if err == nil {
		t.Error("no error")
	}
	if record, err := tree.Read("x", platform); err != nil || record.Version != "one" || content(t, tree) != "one" {
		t.Errorf("record %+v, content %q, %v", record, content(t, tree), err)
	}
	lock, err := os.ReadFile(tree.LockFile("x", platform))
	if err != nil || string(lock) != "lock one" {
		t.Errorf("lockfile %q, %v", lock, err)
	}
}

func TestASwapThatBreaksOffIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	s := swap{places: []string{filepath.Join(dir, "record"), filepath.Join(dir, "layout")}}
	for i, place := range s.places {
		for _, path := range []string{place, s.part(i)} {
			if err := os.WriteFile(path, []byte(filepath.Base(path)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Remove(s.part(0)); err != nil { // the last to take its place is gone
		t.Fatal(err)
	}
	if err := s.do(); err == nil {
		t.Error("no error")
	}
	for _, place := range s.places {
		if text, err := os.ReadFile(place); err != nil || string(text) != filepath.Base(place) {
			t.Errorf("%s holds %q, %v", place, text, err)
		}
	}
}

// What a killed build leaves is a .part folder, perhaps a layout without a
// record. Nobody takes either for an image, and the next build removes them.
func TestWhatAKilledBuildLeavesIsNoImage(t *testing.T) {
	tree := Tree(t.TempDir())
	for _, dir := range []string{tree.Dir("x", platform), tree.Dir("x", platform) + ".part"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "old"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tree.Read("x", platform); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a layout without a record was taken for an image: %v", err)
	}
	if records, err := tree.List(); err != nil || len(records) != 0 {
		t.Errorf("list %+v, %v", records, err)
	}
	put(t, tree, "one")
	if _, err := os.Stat(filepath.Join(tree.Dir("x", platform), "old")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the new layout holds files of the killed build")
	}
}

func TestTwoBuildsOfAnImageDoNotMix(t *testing.T) {
	tree := Tree(t.TempDir())
	_, err := tree.Create("x", platform, nil, func(string) (Record, error) {
		_, err := tree.Create("x", platform, nil, func(string) (Record, error) {
			t.Error("two builds write at once")
			return Record{}, nil
		})
		return Record{}, err
	})
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	put(t, tree, "after") // the lock is free again
}

func TestALockThatCannotBeHadNamesItsFolder(t *testing.T) {
	tree := Tree(t.TempDir())
	home := filepath.Dir(tree.Dir("x", platform))
	if err := os.MkdirAll(filepath.Join(home, "."+filepath.Base(tree.Dir("x", platform))+".busy"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := tree.Create("x", platform, nil, func(string) (Record, error) { return Record{}, nil })
	if err == nil || !strings.HasPrefix(err.Error(), home) {
		t.Errorf("got %v", err)
	}
}

func TestADamagedRecordIsNamed(t *testing.T) {
	tree := Tree(t.TempDir())
	put(t, tree, "one")
	if err := os.WriteFile(tree.recordFile("x", platform), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Read("x", platform); err == nil || !strings.Contains(err.Error(), "linux-amd64.json") {
		t.Errorf("got %v", err)
	}
}

func TestBuildKeyIsOfAllInputsInAnyOrder(t *testing.T) {
	inputs := []Input{{"file", "a", "1"}, {"file", "b", "2"}, {"base", "", "3"}}
	key := BuildKey(inputs)
	if turned := BuildKey([]Input{inputs[2], inputs[1], inputs[0]}); turned != key {
		t.Error("the order of the inputs changes the key")
	}
	for name, other := range map[string][]Input{
		"renamed":  {{"file", "c", "1"}, inputs[1], inputs[2]},
		"edited":   {{"file", "a", "9"}, inputs[1], inputs[2]},
		"missing":  inputs[1:],
		"other":    {{"link", "a", "1"}, inputs[1], inputs[2]},
		"shifted":  {{"file", "a 1", ""}, inputs[1], inputs[2]},
		"repeated": append(inputs, inputs[0]),
	} {
		if BuildKey(other) == key {
			t.Errorf("%s: the key is the same", name)
		}
	}
}
