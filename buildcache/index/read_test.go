package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hashC = "cccccccccccccccccccccccccccccccc"
	hashD = "dddddddddddddddddddddddddddddddd"
)

// small is an index in Spack's form: b needs a (link) and c (build), c is
// external, and d, which is no entry, is needed by a to run.
var small = database(
	record(hashA, "liba", "1.0", "", 1, true, dependency(hashD, "run")),
	record(hashC, "cc", "12", `"external":{"path":"/usr"},`, 1, false),
	record(hashB, "b", "2.0", "", 0, true, dependency(hashA, "build", "link"), dependency(hashC, "build")),
)

func database(records ...string) string {
	return `{"database":{"version":"7","installs":{` + strings.Join(records, ",") + `}}}`
}

func record(hash, name, version, more string, refs int, cached bool, deps ...string) string {
	list := ""
	if len(deps) > 0 {
		list = `"dependencies":[` + strings.Join(deps, ",") + `],`
	}
	return fmt.Sprintf(`%q:{"spec":{"name":%q,"version":%q,"arch":{"platform":"linux"},"parameters":{"cflags":[]},%s%s"hash":%q},"ref_count":%d,"in_buildcache":%v}`,
		hash, name, version, more, list, hash, refs, cached)
}

func dependency(hash string, types ...string) string {
	virtuals := ""
	if len(types) == 1 {
		virtuals = `"c"`
	}
	return fmt.Sprintf(`{"name":"x","hash":%q,"parameters":{"deptypes":["%s"],"virtuals":[%s]}}`, hash, strings.Join(types, `","`), virtuals)
}

// fixtures returns the indexes that real Spack wrote.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, pattern := range []string{"v2-*/cache/build_cache/index.json", "v3-*/cache/blobs/sha256/*/*"} {
		names, err := filepath.Glob(filepath.Join("../../testdata/spack", pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v %v", pattern, names, err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(data, []byte(`{"database"`)) {
				found[name] = data
			}
		}
	}
	if len(found) < 4 {
		t.Fatalf("got %d fixtures", len(found))
	}
	return found
}

func read(t testing.TB, data []byte) *index.Graph {
	t.Helper()
	g, err := index.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func id(t testing.TB, g *index.Graph, h buildcache.Hash) uint32 {
	t.Helper()
	id, ok := g.Lookup(h)
	if !ok {
		t.Fatalf("no node %s", h)
	}
	return id
}

func TestReadAgreesWithTheOracleOnIndexesOfRealSpack(t *testing.T) {
	for name, data := range fixtures(t) {
		want, err := oracle(data)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, n := range []int{1, 7, 1 << 20} {
			g, err := index.Read(stingy{bytes.NewReader(data), n}, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := compare(g, want); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestGraphTellsWhatTheIndexSays(t *testing.T) {
	g := read(t, []byte(small))
	a, b, c, d := id(t, g, hashA), id(t, g, hashB), id(t, g, hashC), id(t, g, hashD)
	if g.Version() != "7" || g.Len() != 4 || !slices.Equal(g.Entries(), []uint32{a, c, b}) {
		t.Errorf("got version %s, %d nodes, entries %v", g.Version(), g.Len(), g.Entries())
	}
	if g.Name(b) != "b" || g.VersionOf(b) != "2.0" || g.Hash(b) != hashB || !g.InCache(b) || g.External(b) || g.RefCount(a) != 1 {
		t.Errorf("b: got %+v", entry(g, b))
	}
	if !g.External(c) || g.InCache(c) || g.Missing(c) {
		t.Errorf("c: got %+v", entry(g, c))
	}
	if !g.Missing(d) || g.Name(d) != "" || g.InCache(d) {
		t.Errorf("d: got %+v", entry(g, d))
	}
	for _, h := range []buildcache.Hash{"", "short", "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, ok := g.Lookup(h); ok {
			t.Errorf("Lookup(%q) finds something", h)
		}
	}
}

func TestReadAgreesWithTheOracleOnHostileIndexes(t *testing.T) {
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			want, wantErr := oracle([]byte(tt.text))
			if (wantErr == nil) != tt.ok {
				t.Fatalf("the oracle says %v", wantErr)
			}
			for _, size := range []int{0, 1, 100, len(tt.text) / 2, len(tt.text)} {
				g, err := index.Read(strings.NewReader(tt.text), int64(size))
				if (err == nil) != tt.ok {
					t.Fatalf("got %v, the oracle says %v", err, wantErr)
				}
				if err != nil {
					if !errors.Is(err, buildcache.ErrFormat) {
						t.Errorf("got %v, want ErrFormat", err)
					}
					continue
				}
				if err := compare(g, want); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Each byte of an index is left out, doubled, and replaced by those that mean
// something in JSON.
func TestReadAgreesWithTheOracleOnEveryByteChanged(t *testing.T) {
	check := func(text string) {
		want, wantErr := oracle([]byte(text))
		g, err := index.Read(strings.NewReader(text), int64(len(small)))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got %v, the oracle says %v: %s", err, wantErr, text)
		}
		if err == nil {
			if err := compare(g, want); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
	}
	for i := range len(small) {
		for _, by := range []string{"", small[i:i+1] + small[i:i+1], "\"", ":", ",", "{", "]", "\\", "0", " ", "\x00", "\xff", `""`} {
			check(small[:i] + by + small[i+1:])
		}
	}
}

func TestReadRefusesUnknownVersions(t *testing.T) {
	for _, v := range []string{"5", "0", "-7", "7x", "", "07", "7.0", "99999999999999999999"} {
		_, err := index.Read(strings.NewReader(strings.Replace(small, `"version":"7"`, `"version":"`+v+`"`, 1)), 0)
		if got := (*index.VersionError)(nil); !errors.As(err, &got) || got.Version != v {
			t.Errorf("version %q: got %v", v, err)
		}
	}
	_, err := index.Read(strings.NewReader(`{"database":{"installs":{}}}`), 0)
	if got := (*index.VersionError)(nil); !errors.As(err, &got) || got.Version != "" || !errors.Is(err, buildcache.ErrFormat) {
		t.Errorf("no version: got %v", err)
	}
}

func TestReadRefusesAnIndexCutOffAnywhere(t *testing.T) {
	for n := range len(small) {
		_, err := index.Read(strings.NewReader(small[:n]), int64(len(small)))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, buildcache.ErrFormat) {
			t.Fatalf("%d bytes: got %v, want ErrUnexpectedEOF", n, err)
		}
		if want := fmt.Sprintf("byte %d:", n); !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q", err, want)
		}
	}
}

func TestReadPassesOnWhatItsReaderFailsWith(t *testing.T) {
	broken := errors.New("connection reset")
	for _, n := range []int{0, 100, len(small)} {
		r := io.MultiReader(strings.NewReader(small[:n]), failing{broken})
		if _, err := index.Read(r, 0); !errors.Is(err, broken) || errors.Is(err, buildcache.ErrFormat) {
			t.Errorf("after %d bytes: got %v", n, err)
		}
	}
	if _, err := index.Read(failing{nil}, 0); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v, want ErrNoProgress", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestReadTakesRecordsThatAreBiggerThanTheWindow(t *testing.T) {
	filler := strings.Repeat("x", 3<<20)
	text := database(
		record(hashA, "a", "1", `"x":"`+filler+`",`, 1, true),
		record(hashB, "b", "1", "", 0, true, dependency(hashA, "link")),
	)
	text = strings.Replace(text, `{"database"`, `{"`+filler+`":["`+filler+`"],"database"`, 1)
	want, err := oracle([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	g, err := index.Read(strings.NewReader(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := compare(g, want); err != nil {
		t.Error(err)
	}
}

// The window is as long as the size says, then twice as long, and so on.
func TestReadDoesNotCareWhereItsWindowEnds(t *testing.T) {
	want, err := oracle([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for size := range int64(len(small)) {
		g, err := index.Read(strings.NewReader(small), size)
		if err == nil {
			err = compare(g, want)
		}
		if err != nil {
			t.Fatalf("window of %d bytes: %v", size, err)
		}
	}
}

func TestReadBelievesNoSize(t *testing.T) {
	for _, size := range []int64{-1, 1, 1 << 62} {
		if _, err := index.Read(strings.NewReader(small), size); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
}
