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
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

// smallLock has two environments included, one of them twice: b needs a to
// build and link and the external c to build; d is spliced from a.
var smallLock = lockOf(6, environment(
	[]string{hashB, hashA},
	[]string{concrete(hashA, "liba", "1.0", ""), concrete(hashC, "cc", "12", `"external":{"path":"/usr"},`),
		concrete(hashB, "b", "2.0", "", dependency(hashA, "build", "link"), dependency(hashC, "build"))},
	`"/z":`+innerLock, `"/e":`+environment([]string{hashA}, []string{concrete(hashA, "liba", "1.0", "")}, `"/z":`+innerLock),
))

var innerLock = environment([]string{hashD}, []string{concrete(hashD, "liba", "1.0", `"build_spec":{"name":"liba","hash":"`+hashA+`"},`)})

const lockMeta = `"_meta":{"file-type":"spack-lockfile","lockfile-version":%d,"specfile-version":5}`

func lockOf(version int, environment string) string {
	return "{" + fmt.Sprintf(lockMeta, version) + "," + environment[1:]
}

func environment(roots, nodes []string, included ...string) string {
	for i, h := range roots {
		roots[i] = fmt.Sprintf(`{"hash":%q,"spec":"x"}`, h)
	}
	return `{"roots":[` + strings.Join(roots, ",") + `],"concrete_specs":{` + strings.Join(nodes, ",") + `},"include_concrete":{` + strings.Join(included, ",") + `}}`
}

// concrete returns what a lockfile holds of a node.
func concrete(hash, name, version, more string, deps ...string) string {
	key, value, _ := strings.Cut(record(hash, name, version, more, 0, true, deps...), `{"spec":`)
	return key + strings.TrimSuffix(value, `,"ref_count":0,"in_buildcache":true}`)
}

// locksOfSpack returns the lockfiles that real Spack wrote.
func locksOfSpack(t testing.TB) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	names, err := filepath.Glob("../../testdata/spack/*/locks/*.lock")
	if err != nil || len(names) < 12 {
		t.Fatalf("got %v %v", names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = data
	}
	return found
}

func readLock(t testing.TB, text string) *index.Lock {
	t.Helper()
	l, err := index.ReadLock(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestReadLockAgreesWithParseLockfileOnLocksOfRealSpack(t *testing.T) {
	for name, data := range locksOfSpack(t) {
		want, err := buildcache.ParseLockfile(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 7, 1 << 20} {
			got, err := index.ReadLock(stingy{bytes.NewReader(data), n}, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := compareLock(got, want); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Real lockfiles included by each other, in every version and any order of keys.
func TestReadLockAgreesWithParseLockfileOnIncludedEnvironments(t *testing.T) {
	locks := locksOfSpack(t)
	for _, cache := range []string{"v2-signed", "v3-signed"} {
		env := func(name string) string {
			return strings.TrimSpace(string(locks["../../testdata/spack/"+cache+"/locks/env-"+name+".spack.lock"]))
		}
		body := strings.TrimSuffix(env("a"), "}")[1:]
		nested := strings.TrimSuffix(env("b"), "}") + `,"include_concrete":{"/a":` + env("a") + `}}`
		included := `"include_concrete":{"/z":` + env("hello") + `,"/b":` + nested + `}`
		for version := 4; version <= 6; version++ {
			for _, text := range []string{"{" + body + "," + included + "}", "{" + included + "," + body + "}"} {
				text = strings.ReplaceAll(text, `"lockfile-version":5`, `"lockfile-version":6`)
				text = strings.ReplaceAll(text, `"lockfile-version":6`, fmt.Sprintf(`"lockfile-version":%d`, version))
				l := readLock(t, text)
				want, err := buildcache.ParseLockfile([]byte(text))
				if err == nil {
					err = compareLock(l, want)
				}
				if err != nil || l.Version != version || len(l.Roots) < 4 {
					t.Errorf("%s: %v: version %d, roots %v", cache, err, l.Version, l.Roots)
				}
			}
		}
	}
}

func TestLockTellsWhatTheLockfileSays(t *testing.T) {
	l := readLock(t, smallLock)
	a, b, c, d := id(t, l.Graph, hashA), id(t, l.Graph, hashB), id(t, l.Graph, hashC), id(t, l.Graph, hashD)
	if l.Version != 6 || l.Len() != 4 || !slices.Equal(l.Roots, []uint32{b, a, d}) {
		t.Errorf("got version %d, %d nodes, roots %v", l.Version, l.Len(), l.Roots)
	}
	if !l.External(c) || l.External(a) || l.InCache(a) || l.Name(b) != "b" || l.VersionOf(b) != "2.0" {
		t.Errorf("got %+v, %+v", entry(l.Graph, b), entry(l.Graph, c))
	}
	if to, ok := l.BuildSpec(d); !ok || to != a {
		t.Errorf("the build spec of d: got %d %v", to, ok)
	}
	if marked := l.Mark([]uint32{b}, buildcache.Build); !marked.Has(a) || !marked.Has(c) || marked.Has(d) {
		t.Errorf("got %v", marked)
	}
	at, size := l.Record(c)
	if got, want := smallLock[at:at+int64(size)], concrete(hashC, "cc", "12", `"external":{"path":"/usr"},`); got != want {
		t.Errorf("got record %s, want %s", got, want)
	}
	if err := l.Rewrite(io.Discard, strings.NewReader(smallLock), index.NewBits(4)); err == nil {
		t.Error("a lockfile is rewritten as an index")
	}
}

// The node of an environment counts before that of one that it includes, and
// of these the one with the first path: wherever they stand.
func TestReadLockTakesTheFirstOfRepeatedNodes(t *testing.T) {
	leaves := []string{concrete(hashB, "b", "1", ""), concrete(hashC, "c", "1", ""), concrete(hashD, "d", "1", "")}
	need := func(h string) string {
		return environment(nil, append(leaves, concrete(hashA, "a", "1", "", dependency(h, "run"))))
	}
	own := func(included, behind string) string {
		return fmt.Sprintf("{"+lockMeta+`,"roots":[],%s"concrete_specs":{%s}%s}`, 6, included, concrete(hashA, "a", "1", ""), behind)
	}
	none := strings.TrimSuffix(lockOf(6, environment(nil, nil)), `{}}`)
	outer := strings.TrimSuffix(environment(nil, nil), `{}}`) + `{"/a":` + need(hashB) + `}}`
	for text, want := range map[string][]string{
		own(`"include_concrete":{"/e":`+need(hashB)+`},`, ""):                                        nil,
		own("", `,"include_concrete":{"/e":`+need(hashB)+`}`):                                        nil,
		none + `{"/y":` + need(hashC) + `,"/x":` + need(hashB) + `}}`:                                {hashB},
		none + `{"/x":` + need(hashB) + `,"/y":` + need(hashC) + `}}`:                                {hashB},
		none + `{"/z":` + need(hashC) + `,"/x":` + need(hashB) + `,"/y":` + need(hashD) + `}}`:       {hashB},
		none + `{"/y":` + need(hashC) + `,"/x":` + outer + `}}`:                                      {hashB},
		none + `{"/w":` + need(hashD) + `,"/x":` + outer + `}}`:                                      {hashD},
		none + `{"/x":` + outer + `,"/x/":` + need(hashD) + `,"/a":` + innermost(need(hashC)) + `}}`: {hashC},
	} {
		l := readLock(t, text)
		var got []string
		for to := range l.Deps(id(t, l.Graph, hashA)) {
			got = append(got, string(l.Hash(to)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v: %s", got, want, text)
		}
		if err := agree([]byte(text), 0); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// innermost includes an environment in one that is included itself.
func innermost(environment string) string {
	empty := `{"roots":[],"concrete_specs":{},"include_concrete":{"/e":`
	return empty + empty + environment + "}}}}"
}

func TestReadLockJudgesHostileLocksAsItSays(t *testing.T) {
	for _, tt := range hostileLocks {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 100, len(tt.text) / 2, len(tt.text)} {
				_, err := index.ReadLock(strings.NewReader(tt.text), int64(size))
				if (err == nil) != (tt.say == "") {
					t.Fatalf("got %v, want %q", err, tt.say)
				}
				if err != nil && (!errors.Is(err, buildcache.ErrFormat) || !strings.Contains(err.Error(), tt.say) || !strings.HasPrefix(err.Error(), "lockfile: ")) {
					t.Errorf("got %v, want ErrFormat with %q", err, tt.say)
				}
				if err := agree([]byte(tt.text), int64(size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What is wrong with a node is wrong with it in both kinds of file.
func TestReadLockJudgesNodesAsReadDoes(t *testing.T) {
	const start, end = `{"database":{"version":"7","installs":{`, `}}}`
	for _, tt := range hostile {
		records, ok := strings.CutPrefix(tt.text, start)
		if !ok || !strings.HasSuffix(records, end) {
			continue
		}
		text := strings.NewReplacer(`:{"spec":`, `:`, `,"ref_count":1,"in_buildcache":true}`, ``, `,"ref_count":0,"in_buildcache":true}`, ``,
			`,"ref_count":1,"in_buildcache":false}`, ``, `,"ref_count":9,"in_buildcache":true}`, ``).Replace(strings.TrimSuffix(records, end))
		for _, h := range []string{hashB, hashD} { // so that no reference dangles
			if !strings.Contains(text, `"`+h+`":`) {
				text += "," + concrete(h, "z", "1", "")
			}
		}
		text = lockOf(5, `{"roots":[],"concrete_specs":{`+strings.TrimPrefix(text, ",")+`}}`)
		if err := agree([]byte(text), 0); err != nil {
			t.Errorf("%s: %v: %.2000s", tt.name, err, text)
		}
	}
}

func TestReadLockAgreesWithParseLockfileOnEveryByteChanged(t *testing.T) {
	size.Need(t, size.All) // some seconds
	check := func(text string) {
		if err := agree([]byte(text), int64(len(smallLock))); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	for i := range len(smallLock) {
		for _, by := range []string{"", smallLock[i:i+1] + smallLock[i:i+1], "\"", ":", ",", "{", "]", "\\", "0", " ", "B", "\xff", `""`} {
			check(smallLock[:i] + by + smallLock[i+1:])
		}
	}
}

func TestReadLockRefusesALockCutOffAnywhere(t *testing.T) {
	for n := range len(smallLock) {
		_, err := index.ReadLock(strings.NewReader(smallLock[:n]), int64(len(smallLock)))
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, buildcache.ErrFormat) || !strings.Contains(err.Error(), fmt.Sprintf("lockfile: byte %d:", n)) {
			t.Fatalf("%d bytes: got %v, want ErrUnexpectedEOF", n, err)
		}
	}
}

func TestReadLockDoesNotCareWhereItsWindowEnds(t *testing.T) {
	for size := range int64(len(smallLock)) {
		if err := agree([]byte(smallLock), size); err != nil {
			t.Fatalf("window of %d bytes: %v", size, err)
		}
	}
}

func TestReadLockPassesOnWhatItsReaderFailsWith(t *testing.T) {
	broken := errors.New("connection reset")
	r := io.MultiReader(strings.NewReader(smallLock[:200]), failing{broken})
	if _, err := index.ReadLock(r, 0); !errors.Is(err, broken) || errors.Is(err, buildcache.ErrFormat) {
		t.Errorf("got %v", err)
	}
}

func TestReadLockAgreesWithParseLockfileOnBigLocks(t *testing.T) {
	for _, layout := range []int{2, 3} {
		c := synth.Cache{Specs: 3000, Seed: 3, Layout: layout}
		if err := agree(c.Lockfile(c.Roots(500)...), 0); err != nil {
			t.Error(err)
		}
	}
}

func TestReadLockFindsKeysTwiceAmongMany(t *testing.T) {
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf(`"k%d":{"k%d":0}`, i, i))
	}
	for _, again := range []int{-1, 0, 63, 64, 65, 500, 999} {
		list := slices.Clone(keys)
		if again >= 0 {
			list = append(list, fmt.Sprintf(`"\u006b%d":0`, again))
		}
		for _, text := range []string{
			lockOf(6, environment(nil, []string{concrete(hashA, "a", "1", `"x":{`+strings.Join(list, ",")+`},`)})),
			lockOf(6, `{`+strings.Join(list, ",")+`,`+environment(nil, nil)[1:]),
		} {
			_, err := index.ReadLock(strings.NewReader(text), 64) // a small window
			if (err == nil) != (again < 0) {
				t.Errorf("key %d twice: got %v", again, err)
			}
		}
	}
}

// What is read again since the window ends in it must not count twice, nor make
// the reader forget the object that it stands in.
func TestReadLockFindsKeysTwiceWhereverItsWindowEnds(t *testing.T) {
	once := `{"x":1,"y":{"y":{"long":1000000}},"z":{},` + smallLock[1:]
	twice := strings.TrimSuffix(once, "}") + `,"x":2}`
	for size := range int64(len(twice)) {
		if _, err := index.ReadLock(strings.NewReader(once), size); err != nil {
			t.Fatalf("window of %d bytes: %v", size, err)
		}
		if _, err := index.ReadLock(strings.NewReader(twice), size); err == nil || !strings.Contains(err.Error(), `the key "x" is there twice`) {
			t.Fatalf("window of %d bytes: got %v", size, err)
		}
	}
}

// The chain is so long that a walk that calls itself would need much memory.
func TestReadLockTakesLongChains(t *testing.T) {
	const n = 100_000
	name := func(i int) string {
		h := []byte(hashA)
		for k := range 5 {
			h[31-k], i = "abcdefghijklmnopqrstuvwxyz234567"[i%32], i/32
		}
		return string(h)
	}
	nodes := make([]string, n)
	for i := range n {
		nodes[i] = concrete(name(i), "a", "1", "", dependency(name((i+1)%n), "run"))
	}
	cycle := lockOf(6, environment(nil, nodes))
	if _, err := index.ReadLock(strings.NewReader(cycle), 0); err == nil || !strings.Contains(err.Error(), "depends on itself") {
		t.Errorf("got %v", err)
	}
	nodes[n-1] = concrete(name(n-1), "a", "1", "")
	if l := readLock(t, lockOf(6, environment(nil, nodes))); l.Len() != n {
		t.Errorf("got %d nodes", l.Len())
	}
}
