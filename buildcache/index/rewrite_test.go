package index_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

func rewrite(t testing.TB, g *index.Graph, data []byte, keep index.Bits) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := g.Rewrite(&out, bytes.NewReader(data), keep); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// all returns what an index has in the cache.
func all(g *index.Graph) index.Bits {
	keep := index.NewBits(g.Len())
	for _, id := range g.Entries() {
		if g.InCache(id) {
			keep.Set(id)
		}
	}
	return keep
}

func TestRewriteOfAllIsTheSameFile(t *testing.T) {
	files := fixtures(t)
	files["small"] = []byte(small)
	files["with white space"] = []byte(strings.NewReplacer(":", " :\n", ",", "\t, ").Replace(small) + "\n")
	for name, data := range files {
		g := read(t, data)
		if got := rewrite(t, g, data, all(g)); !bytes.Equal(got, data) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, data)
		}
	}
}

func TestRewriteEqualsWhatTheOracleFilters(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	files := fixtures(t)
	var big bytes.Buffer
	if err := synth.Index(&big, 1000, 1); err != nil {
		t.Fatal(err)
	}
	files["synth"] = big.Bytes()
	for _, tt := range hostile {
		if tt.ok {
			files[tt.name] = []byte(tt.text)
		}
	}
	for name, data := range files {
		before, err := oracle(data)
		if err != nil {
			t.Fatal(err)
		}
		g := read(t, data)
		for range 20 {
			keep, kept := index.NewBits(g.Len()), map[string]bool{}
			for _, h := range before.order {
				if random.IntN(4) == 0 {
					keep.Set(id(t, g, buildcache.Hash(h)))
					kept[h] = true
				}
			}
			out := rewrite(t, g, data, keep)
			if err := compare(read(t, out), before.filtered(kept)); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
}

func TestRewriteOfNothingHasNoInstalls(t *testing.T) {
	got := rewrite(t, read(t, []byte(small)), []byte(small), nil)
	if want := database(); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRewriteKeepsTheEntriesThatAKeptSpecNames(t *testing.T) {
	g := read(t, []byte(small))
	keep := index.NewBits(g.Len())
	keep.Set(id(t, g, hashB))
	got := rewrite(t, g, []byte(small), keep)
	want := strings.Replace(small, `"in_buildcache":true`, `"in_buildcache":false`, 1) // liba
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRewriteCountsReferencesAgain(t *testing.T) {
	g := read(t, []byte(small))
	keep := index.NewBits(g.Len())
	keep.Set(id(t, g, hashA))
	got := rewrite(t, g, []byte(small), keep)
	want := database(record(hashA, "liba", "1.0", "", 0, true, dependency(hashD, "run")))
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRewriteLeavesWhatItDoesNotKnow(t *testing.T) {
	old := strings.Replace(small, `"version":"7"`, `"x":[1, 2],"version":"7"`, 1)
	old = strings.TrimSuffix(old, "}}") + `,"y":null},"z":"{" }` + "\n"
	got := rewrite(t, read(t, []byte(old)), []byte(old), nil)
	if want := `{"database":{"x":[1, 2],"version":"7","installs":{},"y":null},"z":"{" }` + "\n"; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRewriteNoticesThatTheFileChanged(t *testing.T) {
	g := read(t, []byte(small))
	keep := index.NewBits(g.Len())
	keep.Set(id(t, g, hashB))
	for _, data := range []string{small[:len(small)-1], small + " ", "x" + small[1:len(small)-400], strings.Replace(small, "true", "TRUE", 1), ""} {
		if err := g.Rewrite(io.Discard, strings.NewReader(data), keep); err == nil {
			t.Errorf("took %s", data)
		}
	}
}

func TestRewritePassesOnWhatItsWriterFailsWith(t *testing.T) {
	full := errors.New("disk full")
	g := read(t, []byte(small))
	if err := g.Rewrite(failingWriter{full}, strings.NewReader(small), all(g)); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

func TestAppend(t *testing.T) {
	const lone = `"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz":{"spec":{"name":"z","version":"1","hash":"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"},"ref_count":0,"in_buildcache":true}`
	other := strings.Replace(small, `"installs":{`, `"installs":{`+lone+`,`, 1)
	empty := `{"database": {"version": "7", "installs": { }}}` + "\n"
	for name, first := range map[string]string{"to some": small, "to none": empty, "to itself": other} {
		g, err := index.Read(strings.NewReader(first), 0)
		if err != nil {
			t.Fatal(err)
		}
		o, err := index.Read(strings.NewReader(other), 0)
		if err != nil {
			t.Fatal(err)
		}
		ids := index.NewBits(o.Len())
		for i := range o.Len() {
			ids.Set(uint32(i))
		}
		var out bytes.Buffer
		if err := g.Append(&out, strings.NewReader(first), o, strings.NewReader(other), ids); err != nil {
			t.Fatal(err)
		}
		both, err := index.Read(bytes.NewReader(out.Bytes()), 0)
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out.Bytes())
		}
		if len(both.Entries()) != len(o.Entries()) {
			t.Errorf("%s: %d entries, want %d", name, len(both.Entries()), len(o.Entries()))
		}
		if name == "to itself" && out.String() != first {
			t.Errorf("changed to %s", out.Bytes())
		}
		out.Reset()
		if err := g.Append(&out, strings.NewReader(first), o, strings.NewReader(other), index.NewBits(o.Len())); err != nil || out.String() != first {
			t.Errorf("%s: without ids: %v, %s", name, err, out.Bytes())
		}
	}
}
