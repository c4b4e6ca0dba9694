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

// hostile are indexes that are not as Spack writes them today.
var hostile = func() []struct {
	name, text string
	ok         bool
} {
	liba := record(hashA, "liba", "1.0", "", 0, true)
	edit := func(old, text string) string {
		if !strings.Contains(small, old) {
			panic(old)
		}
		return strings.Replace(small, old, text, 1)
	}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	return []struct {
		name, text string
		ok         bool
	}{
		{"as it should be", small, true},
		{"no installs at all", database(), true},
		{"nothing", "", false},
		{"null", "null", false},
		{"a list", "[]", false},
		{"an empty object", "{}", false},
		{"database null", `{"database":null}`, false},
		{"database a list", `{"database":[]}`, false},
		{"database empty", `{"database":{}}`, false},
		{"installs null", `{"database":{"version":"7","installs":null}}`, false},
		{"installs a list", `{"database":{"version":"7","installs":[]}}`, false},
		{"installs missing", `{"database":{"version":"7"}}`, false},
		{"installs twice", `{"database":{"version":"7","installs":{},"installs":{}}}`, false},
		{"version behind", `{"database":{"installs":{},"version":"8"}}`, true},
		{"version twice", `{"database":{"version":"7","version":"7","installs":{}}}`, false},
		{"database twice", `{"database":{"version":"7","installs":{}},"database":{"version":"7","installs":{}}}`, false},
		{"byte order mark", "\ufeff" + small, false},
		{"white space", " \t\r\n" + strings.NewReplacer(":", " :\n", ",", "\t, ", "{", "{ ", "}", "\r}").Replace(small) + "\n", true},
		{"other white space", "\v" + small, false},
		{"text behind", small + "x", false},
		{"another document", small + "{}", false},
		{"NUL behind", small + "\x00", false},
		{"escaped keys", edit(`"spec"`, `"\u0073pec"`), true},
		{"escaped and plain key", edit(`"ref_count":1`, `"ref_\u0063ount":1,"ref_count":2`), false},
		{"escaped hash", edit(`"`+hashA+`":`, `"\u0061`+hashA[1:]+`":`), true},
		{"key in capitals", edit(`"spec"`, `"Spec"`), false},
		{"keys unknown", edit(`"version":"7"`, `"x":[{"y":1.5e-3}],"version":"7"`), true},
		{"unknown keys twice", edit(`"cflags":[]`, `"cflags":[],"cflags":1`), true},
		{"other order", edit(`"ref_count":1,"in_buildcache":true}`, `"in_buildcache":true,"x":{},"ref_count":1}`), true},
		{"entry twice", database(liba, liba), false},
		{"entry null", database(`"` + hashA + `":null`), false},
		{"entry a list", database(`"` + hashA + `":[]`), false},
		{"entry without comma", database(liba + record(hashB, "b", "1", "", 0, true)), false},
		{"comma too many", database(liba, ""), false},
		{"comma before", database("", liba), false},
		{"hash too short", strings.ReplaceAll(small, hashA, hashA[1:]), false},
		{"hash too long", strings.ReplaceAll(small, hashA, hashA+"a"), false},
		{"hash with 1", strings.ReplaceAll(small, hashA, "1"+hashA[1:]), false},
		{"hash in capitals", strings.ReplaceAll(small, hashA, strings.ToUpper(hashA)), false},
		{"hash not ASCII", strings.ReplaceAll(small, hashA, "ä"+hashA[2:]), false},
		{"hash of another", edit(`"hash":"`+hashA+`"}`, `"hash":"`+hashB+`"}`), false},
		{"no hash", edit(`,"hash":"`+hashB+`"`, ``), false},
		{"no name", edit(`"name":"b",`, ``), false},
		{"name empty", edit(`"name":"b"`, `"name":""`), false},
		{"name null", edit(`"name":"b"`, `"name":null`), false},
		{"name a number", edit(`"name":"b"`, `"name":5`), false},
		{"name twice", edit(`"name":"b"`, `"name":"b","name":"b"`), false},
		{"name with escapes", edit(`"name":"b"`, `"name":"\ud83d\ude00\u00e4\n\ud800\/"`), true},
		{"name in UTF-8", edit(`"name":"b"`, `"name":"bücher-😀"`), true},
		{"name in broken UTF-8", edit(`"name":"b"`, "\"name\":\"b\xff\xc3(\""), true},
		{"name in broken UTF-8 with escapes", edit(`"name":"b"`, "\"name\":\"\\u0041\xff\""), true},
		{"version empty", edit(`"version":"2.0"`, `"version":""`), false},
		{"spec null", database(`"` + hashA + `":{"spec":null,"ref_count":0,"in_buildcache":true}`), false},
		{"spec missing", database(`"` + hashA + `":{"ref_count":0,"in_buildcache":true}`), false},
		{"ref_count missing", edit(`"ref_count":1,`, ``), false},
		{"ref_count null", edit(`"ref_count":1`, `"ref_count":null`), false},
		{"ref_count a string", edit(`"ref_count":1`, `"ref_count":"1"`), false},
		{"ref_count negative", edit(`"ref_count":1`, `"ref_count":-1`), false},
		{"ref_count minus zero", edit(`"ref_count":1`, `"ref_count":-0`), false},
		{"ref_count with fraction", edit(`"ref_count":1`, `"ref_count":1.0`), false},
		{"ref_count with exponent", edit(`"ref_count":1`, `"ref_count":1e0`), false},
		{"ref_count with zero before", edit(`"ref_count":1`, `"ref_count":01`), false},
		{"ref_count the biggest", edit(`"ref_count":1`, `"ref_count":4294967295`), true},
		{"ref_count too big", edit(`"ref_count":1`, `"ref_count":4294967296`), false},
		{"ref_count huge", edit(`"ref_count":1`, `"ref_count":`+strings.Repeat("9", 400)), false},
		{"in_buildcache missing", edit(`,"in_buildcache":true`, ``), false},
		{"in_buildcache null", edit(`"in_buildcache":true`, `"in_buildcache":null`), false},
		{"in_buildcache 1", edit(`"in_buildcache":true`, `"in_buildcache":1`), false},
		{"in_buildcache misspelt", edit(`"in_buildcache":true`, `"in_buildcache":truE`), false},
		{"in_buildcache twice", edit(`"in_buildcache":true`, `"in_buildcache":true,"in_buildcache":false`), false},
		{"huge number", edit(`"cflags":[]`, `"x":-1.5E+99999999`), true},
		{"number without digits", edit(`"cflags":[]`, `"x":-`), false},
		{"number with point alone", edit(`"cflags":[]`, `"x":1.`), false},
		{"number with plus", edit(`"cflags":[]`, `"x":+1`), false},
		{"number with empty exponent", edit(`"cflags":[]`, `"x":1e`), false},
		{"number in hexadecimal", edit(`"cflags":[]`, `"x":0x1`), false},
		{"NaN", edit(`"cflags":[]`, `"x":NaN`), false},
		{"control character", edit(`"liba"`, "\"lib\na\""), false},
		{"control character in what is skipped", edit(`"linux"`, "\"lin\x1fux\""), false},
		{"unknown escape", edit(`"linux"`, `"lin\xux"`), false},
		{"short escape", edit(`"linux"`, `"\u12"`), false},
		{"escape not hexadecimal", edit(`"linux"`, `"\u12g4"`), false},
		{"key without value", edit(`"cflags":[]`, `"cflags"`), false},
		{"key without colon", edit(`"deptypes":`, `"deptypes"`), false},
		{"key without quotes", edit(`"cflags":[]`, `cflags:[]`), false},
		{"key a number", edit(`"cflags":[]`, `1:[]`), false},
		{"brackets crossed", edit(`"cflags":[]`, `"cflags":[}`), false},
		{"list with comma at its end", edit(`"cflags":[]`, `"cflags":[1,]`), false},
		{"object with comma at its end", edit(`"cflags":[]`, `"cflags":[],`), false},
		{"comment", edit(`"cflags":[]`, `"cflags":[]/**/`), false},
		{"deep", edit(`"cflags":[]`, `"cflags":`+deep(10000-6)), true},
		{"too deep", edit(`"cflags":[]`, `"cflags":`+deep(10000-5)), false},
		{"no end", strings.Repeat("[", 20000), false},
		{"external null", edit(`"external":{"path":"/usr"}`, `"external":null`), true},
		{"external false", edit(`"external":{"path":"/usr"}`, `"external":false`), true},
		{"external empty", edit(`"external":{"path":"/usr"}`, `"external":{ }`), true},
		{"external true", edit(`"external":{"path":"/usr"}`, `"external":true`), false},
		{"external a list", edit(`"external":{"path":"/usr"}`, `"external":[]`), false},
		{"dependencies null", database(record(hashA, "a", "1", `"dependencies":null,`, 0, true)), true},
		{"dependencies an object", database(record(hashA, "a", "1", `"dependencies":{},`, 0, true)), false},
		{"dependency null", database(record(hashA, "a", "1", "", 0, true, "null")), false},
		{"dependency without hash", edit(`"hash":"`+hashA+`","parameters"`, `"parameters"`), false},
		{"dependency with short hash", edit(`"hash":"`+hashA+`","parameters"`, `"hash":"abc","parameters"`), false},
		{"dependency of old form", database(record(hashA, "a", "1", "", 0, true, `{"type":["build","test"],"name":"b","hash":"`+hashB+`"}`)), true},
		{"dependency of both forms", database(record(hashA, "a", "1", "", 0, true, `{"type":["build"],"parameters":{"deptypes":["run"]},"hash":"`+hashB+`"}`)), true},
		{"dependency of unknown type", edit(`["run"]`, `["ruN"]`), false},
		{"dependency of type null", edit(`["run"]`, `[null]`), false},
		{"dependency of types null", edit(`["run"]`, `null`), false},
		{"dependency of no type", edit(`["run"]`, `[]`), false},
		{"dependency of a type that is no list", edit(`["run"]`, `"run"`), false},
		{"deptypes twice", edit(`"deptypes":["run"]`, `"deptypes":["run"],"deptypes":["run"]`), false},
		{"two virtuals", edit(`"virtuals":["c"]`, `"virtuals":["c","cxx"]`), true},
		{"virtuals with escapes", edit(`"virtuals":["c"]`, `"virtuals":["\u0063","ü"]`), true},
		{"virtuals with control character", edit(`"virtuals":["c"]`, "\"virtuals\":[\"\x01\"]"), false},
		{"virtuals with comma at their end", edit(`"virtuals":["c"]`, `"virtuals":["c",]`), false},
		{"deptypes with comma at their end", edit(`["run"]`, `["run",]`), false},
		{"deptypes after virtuals", edit(`"deptypes":["run"],"virtuals":["c"]`, `"virtuals":["c"],"deptypes":["run"]`), true},
		{"parameters null", edit(`"parameters":{"deptypes":["run"],"virtuals":["c"]}`, `"parameters":null`), false},
		{"itself as dependency", database(record(hashA, "a", "1", "", 0, true, dependency(hashA, "run"))), true},
		{"circle", database(record(hashA, "a", "1", "", 9, true, dependency(hashB, "run")), record(hashB, "b", "1", "", 9, true, dependency(hashA, "run"))), true},
		{"twice the same dependency", database(record(hashA, "a", "1", "", 0, true, dependency(hashB, "run"), dependency(hashB, "link"))), true},
		{"spliced", database(record(hashA, "a", "1", `"build_spec":{"name":"a","hash":"`+hashB+`"},`, 0, true)), true},
		{"spliced null", database(record(hashA, "a", "1", `"build_spec":null,`, 0, true)), true},
		{"spliced without hash", database(record(hashA, "a", "1", `"build_spec":{},`, 0, true)), false},
	}
}()

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
	for _, v := range []string{"6", "9", "7x", "", "07"} {
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
