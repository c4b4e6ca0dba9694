package janitor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// A rememberer scans a mirror in one process after the other, which share a
// file.
type rememberer struct {
	t    *testing.T
	m    *memory
	file string
	read []string // manifests that the last scan has read
}

func newRememberer(t *testing.T, specs int) (*rememberer, *world) {
	w := newWorld(t, 1, 3)
	for range specs {
		w.pushOne()
	}
	w.updateIndex(old)
	r := &rememberer{t: t, m: w.m, file: filepath.Join(t.TempDir(), "sub", "mirror.known")}
	w.m.reading = r.reading
	return r, w
}

// pushOne pushes a new spec that is not external.
func (w *world) pushOne() {
	n := w.add(2)
	n.External = nil
	w.push(n, old)
}

func (r *rememberer) reading(key string) error {
	if strings.HasPrefix(key, "v3/manifests/spec/") {
		r.read = append(r.read, key)
	}
	return nil
}

// scan returns what is in the cache, and how many manifests were read for it.
func (r *rememberer) scan() (specs []scan.Spec, read int) {
	r.t.Helper()
	r.read = nil
	known := scan.OpenKnown(r.file)
	s, err := scan.New(r.t.Context(), r.m, scan.Options{Known: known})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := known.Save(); err != nil {
		r.t.Fatal(err)
	}
	return slices.Collect(s.Specs()), len(r.read)
}

func TestManifestsAreReadOnce(t *testing.T) {
	for what, etag := range map[string]func(i int) string{
		"MD5 sums":      nil,
		"parts":         func(i int) string { return strings.Repeat("ab", 16) + "-" + string(rune('1'+i)) },
		"anything else": func(i int) string { return strings.Repeat("z", 1+i) },
	} {
		t.Run(what, func(t *testing.T) {
			r, w := newRememberer(t, 9)
			if etag != nil {
				for i, key := range slices.Sorted(keysOf(r.m)) {
					o := r.m.objects[key]
					o.etag = etag(i % 9)
					r.m.objects[key] = o
				}
			}
			specs, read := r.scan()
			if read != 9 || len(specs) != 9 {
				t.Fatalf("%d specs, %d manifests read, want 9", len(specs), read)
			}
			again, read := r.scan()
			if read != 0 {
				t.Errorf("%d manifests were read again", read)
			}
			for i := range specs {
				if !slices.Equal(specs[i].Objects, again[i].Objects) {
					t.Errorf("remembered %v, want %v", again[i].Objects, specs[i].Objects)
				}
			}
			w.pushOne()
			w.updateIndex(old)
			if _, read := r.scan(); read != 1 {
				t.Errorf("%d manifests were read after one more push", read)
			}
		})
	}
}

func keysOf(m *memory) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m.objects {
			if !yield(key) {
				return
			}
		}
	}
}

func TestChangedManifestIsReadAgain(t *testing.T) {
	r, w := newRememberer(t, 5)
	r.scan()
	key := manifestOf(w.nodes[2])
	r.m.set(key, append(r.m.data(key), ' '), old)
	if _, read := r.scan(); read != 1 || r.read[0] != key {
		t.Errorf("read %v, want %s", r.read, key)
	}
}

func manifestOf(n *node) string {
	return "v3/manifests/spec/" + n.Name + "/" + n.Name + "-" + n.Version + "-" + n.Hash + ".spec.manifest.json"
}

// What was listed and what was read were not the same object: nobody may take
// the one for the other later.
func TestManifestThatChangesWhileItIsReadIsNotRemembered(t *testing.T) {
	r, w := newRememberer(t, 5)
	key, once := manifestOf(w.nodes[2]), sync.Once{}
	before := r.m.data(key)
	r.m.reading = func(k string) error {
		if k == key {
			once.Do(func() { r.m.set(key, append(slices.Clone(before), ' '), old) })
		}
		return r.reading(k)
	}
	r.scan()
	r.m.set(key, before, old) // as it was listed the first time
	if _, read := r.scan(); read != 1 || r.read[0] != key {
		t.Errorf("read %v, want %s", r.read, key)
	}
}

// Of two manifests that do not agree on a blob only one can be remembered as it
// is.
func TestManifestsThatDisagreeAreReadAgain(t *testing.T) {
	r, w := newRememberer(t, 4)
	one, two := manifestOf(w.nodes[0]), manifestOf(w.nodes[1])
	text := strings.Replace(string(r.m.data(one)), `"contentLength":`, `"contentLength":1`, 1)
	r.m.set(two, []byte(text), old)
	for range 2 {
		r.scan()
	}
	if len(r.read) != 1 || r.read[0] != one && r.read[0] != two {
		t.Errorf("read %v, want one of %s and %s", r.read, one, two)
	}
}

func TestWhatAFailedScanHasReadIsKnown(t *testing.T) {
	r, w := newRememberer(t, 6)
	var bad string // the last one
	for _, n := range w.nodes {
		bad = max(bad, manifestOf(n))
	}
	r.m.reading = func(key string) error {
		if key == bad {
			return errors.New("no")
		}
		return r.reading(key)
	}
	known := scan.OpenKnown(r.file)
	if _, err := scan.New(t.Context(), r.m, scan.Options{Known: known, Parallel: 1}); err == nil {
		t.Fatal("no error")
	}
	if err := known.Save(); err != nil {
		t.Fatal(err)
	}
	r.m.reading = r.reading
	if _, read := r.scan(); read != 1 || r.read[0] != bad {
		t.Errorf("read %v, want %s", r.read, bad)
	}
}

// Whatever happened to the file, it costs reads and nothing else.
func TestDamagedMemoryIsForgotten(t *testing.T) {
	r, _ := newRememberer(t, 7)
	want, _ := r.scan()
	whole, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	try := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(r.file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, read := r.scan(); read != 7 || len(got) != len(want) {
			t.Errorf("%d specs, %d manifests read, want 7", len(got), read)
		}
	}
	for n := range 60 {
		try(whole[:len(whole)*n/60])
		flipped := slices.Clone(whole)
		flipped[len(whole)*n/60] ^= 4
		try(flipped)
	}
	for _, e := range dirEntries(t, filepath.Dir(r.file)) {
		if e != "mirror.known" {
			t.Errorf("%s was left behind", e)
		}
	}
}

func dirEntries(t *testing.T, dir string) (names []string) {
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// Nothing was listed: then nothing is known, and what was known before stays.
func TestMemorySurvivesAMirrorThatCannotBeListed(t *testing.T) {
	r, _ := newRememberer(t, 3)
	r.scan()
	r.m.cut = func(string) error { return buildcache.ErrFormat }
	known := scan.OpenKnown(r.file)
	if _, err := scan.New(t.Context(), r.m, scan.Options{Known: known, Parallel: 1}); err == nil {
		t.Fatal("no error")
	}
	if err := known.Save(); err != nil {
		t.Fatal(err)
	}
	r.m.cut = nil
	if _, read := r.scan(); read != 0 {
		t.Errorf("%d manifests were read again", read)
	}
}

// A manifest that no index knows and that a listing leaves out would make
// orphans of its blobs.
func TestListingThatLacksAKnownManifestIsNotBelieved(t *testing.T) {
	r, w := newRememberer(t, 6)
	w.pushOne() // and the index is not updated
	r.scan()
	key := manifestOf(w.nodes[6])
	r.m.hide = func(k string) bool { return k == key }
	if _, err := scan.New(t.Context(), r.m, scan.Options{Known: scan.OpenKnown(r.file)}); !errors.Is(err, scan.ErrIncomplete) || !strings.Contains(err.Error(), key) {
		t.Errorf("got %v, want that %s was not listed", err, key)
	}
	r.m.hide = nil
	r.m.remove(key) // really gone: nobody minds
	if specs, _ := r.scan(); len(specs) != 6 {
		t.Errorf("%d specs", len(specs))
	}
}

// The same for a tarball whose spec file is left out.
func TestListingThatLacksASpecFileIsNotBelieved(t *testing.T) {
	w := newWorld(t, 1, 2)
	for range 4 {
		w.pushOne()
	}
	w.updateIndex(old)
	w.pushOne() // and the index is not updated
	all := w.uploads(w.nodes[4])
	file := all[len(all)-1].key
	for _, name := range []string{file, file + ".sig"} {
		w.m.remove(file)
		w.m.set(name, []byte("{}"), old)
		w.m.hide = func(k string) bool { return k == name }
		if _, err := scan.New(t.Context(), w.m, scan.Options{}); !errors.Is(err, scan.ErrIncomplete) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want that %s was not listed", err, name)
		}
		w.m.remove(name)
	}
	if _, err := scan.New(t.Context(), w.m, scan.Options{}); err != nil {
		t.Errorf("a tarball by itself: %v", err)
	}
}

// What a run has deleted itself is not asked for.
func TestWhatWasDeletedIsNotMissed(t *testing.T) {
	r, w := newRememberer(t, 8)
	r.scan()
	j := clean(r.m)
	j.Scan.Known, j.Policy, j.Policy.EvenIfWritten = scan.OpenKnown(r.file), bold, true
	j.Roots = func(context.Context) (rootset.Roots, error) {
		return rootset.Roots{Locks: []rootset.Lock{w.lock("env", w.nodes[0])}}, nil
	}
	p, err := j.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.read = nil
	if _, err := j.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := j.Scan.Known.Save(); err != nil {
		t.Fatal(err)
	}
	if len(list(p.Specs())) == 0 || len(r.read) > 0 {
		t.Errorf("%d specs went, and %v were asked for", len(list(p.Specs())), r.read)
	}
	if specs, read := r.scan(); read != 0 || len(specs) != 8-len(list(p.Specs())) {
		t.Errorf("%d specs, and %v were asked for", len(specs), r.read)
	}
}

// Nor the spec files of tarballs that are to go next.
func TestSpecFilesThatWereDeletedAreNotAskedFor(t *testing.T) {
	w := newWorld(t, 1, 2)
	for range 8 {
		w.pushOne()
	}
	w.updateIndex(old)
	p := plan(t, w.m, rootset.Roots{Locks: []rootset.Lock{w.lock("env", w.nodes[0])}}, bold)
	gone := map[string]bool{}
	for d := range p.Deletions() {
		if d.Kind == "spec file" {
			gone[d.Key] = true
		}
	}
	asked := 0
	w.m.reading = func(key string) error {
		if gone[strings.TrimSuffix(key, ".sig")] && w.m.data(key) == nil {
			asked++
		}
		return nil
	}
	if apply(t, w.m, p); len(gone) == 0 || asked > 0 {
		t.Errorf("%d spec files went, and were asked for %d times", len(gone), asked)
	}
}
