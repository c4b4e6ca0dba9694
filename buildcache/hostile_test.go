package buildcache_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

const (
	hashX = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	hashY = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
)

// hostileLock is a lockfile of two nodes, with one text in place of another.
func hostileLock(old, text string) string {
	l := `{"_meta":{"file-type":"spack-lockfile","lockfile-version":6,"specfile-version":5},"spack":{"version":"1.0"},` +
		`"roots":[{"hash":"` + hashX + `","spec":"root"}],"concrete_specs":{"` + hashX + `":{"name":"root","version":"1.0","arch":{"platform":"linux",` +
		`"platform_os":"debian12","target":"x86_64"},"namespace":"builtin","parameters":{"v":true},"dependencies":[{"name":"dep","hash":"` + hashY +
		`","parameters":{"deptypes":["link"],"virtuals":[]}}],"hash":"` + hashX + `"},"` + hashY + `":{"name":"dep","version":"2.0","hash":"` + hashY + `"}}}`
	if !strings.Contains(l, old) {
		panic(old)
	}
	return strings.Replace(l, old, text, 1)
}

func TestParseLockfileRefusesWhatLeadsElsewhere(t *testing.T) {
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	hostile := map[string][]string{
		`"root","version"`: {},
		`"1.0","arch"`:     {},
	}
	for _, name := range []string{"../x", "a/b", "/abs", "..", ".", "a\nb", "a\x1b[31m", "a b", "-option", "a\x00b", "ünder", "a;b", "$(x)", "a\u202eb", strings.Repeat("a", 300)} {
		hostile[`"root","version"`] = append(hostile[`"root","version"`], quoted(name)+`,"version"`)
	}
	for _, version := range []string{"../../x", "1/../2", "/1", "1/", "1//2", "1\n", "-1", "1 2", "1;rm", "$(x)", "1`x`", "1\\2", "\u200b1", strings.Repeat("1", 300)} {
		hostile[`"1.0","arch"`] = append(hostile[`"1.0","arch"`], quoted(version)+`,"arch"`)
	}
	hostile[`"builtin"`] = []string{`"../x"`, `"a/b"`, `"a\n"`, `"-a"`, `"a..b"`}
	hostile[`"debian12"`] = []string{`"../x"`, `"a/b"`, `"a\n"`, `"-a"`}
	hostile[`"x86_64"`] = []string{`"../x"`, `{"name":"../x"}`, `"a\u0007"`}
	hostile[`"name":"dep","hash"`] = []string{`"name":"../x","hash"`, `"name":"a\n","hash"`}
	hostile[`"spec":"root"`] = []string{`"spec":"root\u001b[31m"`, `"spec":"a\n::error::x"`}
	hostile[`{"version":"1.0"}`] = []string{`{"version":"1.0\n"}`, `{"version":"1","commit":"\u001b"}`}
	hostile[`"namespace"`] = []string{`"external":{"path":"/a\nb"},"namespace"`}
	for old, texts := range hostile {
		for _, text := range texts {
			if _, err := buildcache.ParseLockfile([]byte(hostileLock(old, text))); !errors.Is(err, buildcache.ErrFormat) {
				t.Errorf("%s: got %v", text, err)
			} else if strings.ContainsAny(err.Error(), "\n\x1b\x00\x07") {
				t.Errorf("%s: the error itself is hostile: %q", text, err)
			}
		}
	}
	for old, texts := range map[string][]string{
		`"1.0","arch"`: {`"git.feature/x-1=develop","arch"`, `"=1.0","arch"`, `"2024.01.01_rc1+cuda","arch"`, `"develop","arch"`},
		`"builtin"`:    {`"a.b-c_d"`, `""`},
		`"x86_64"`:     {`"armv8.4a"`, `{"name":"skylake","vendor":"x"}`},
	} {
		for _, text := range texts {
			if _, err := buildcache.ParseLockfile([]byte(hostileLock(old, text))); err != nil {
				t.Errorf("%s: got %v", text, err)
			}
		}
	}
}

// Two readers of one text must find the same in it.
func TestParseLockfileRefusesWhatReadersDifferIn(t *testing.T) {
	for old, texts := range map[string][]string{
		`"version":"1.0","arch"`: {
			`"Version":"1.0","arch"`, `"version":"1.0","VERSION":"9","arch"`, `"version":"1.0","ver\u017fion":"9","arch"`, `"version":"9","version":"1.0","arch"`,
			`"version":"9","\u0076ersion":"1.0","arch"`, "\"version\":\"1.0\xff\",\"arch\"", `"version":1.0,"arch"`,
		},
		`"deptypes"`:           {`"Deptypes"`, `"deptypes":["run"],"DEPTYPES"`},
		`"concrete_specs"`:     {`"Concrete_Specs"`},
		`"lockfile-version":6`: {`"lockfile-version":6e0`, `"lockfile-version":1e999`, `"lockfile-version":6,"Lockfile-Version":3`},
		`{"v":true}`:           {`{"v":1e999}x`, `{"v":NaN}`, `{"v":1,"v":2}`},
	} {
		for _, text := range texts {
			if _, err := buildcache.ParseLockfile([]byte(hostileLock(old, text))); !errors.Is(err, buildcache.ErrFormat) {
				t.Errorf("%q: got %v", text, err)
			}
		}
	}
	l, err := buildcache.ParseLockfile([]byte(hostileLock(`{"v":true}`, `{"Version":true,"big":9007199254740993}`)))
	if err != nil {
		t.Fatalf("a variant of any name: %v", err)
	}
	other, err := buildcache.ParseLockfile([]byte(hostileLock(`{"v":true}`, `{"Version":true,"big":9007199254740992}`)))
	if err != nil {
		t.Fatal(err)
	}
	if what := l.Specs[hashX].Differs(other.Specs[hashX]); what == "" {
		t.Error("numbers that are the same as floats only are taken to be equal")
	}
}

// A small blob that would be a gigabyte of text must not become that.
func TestSpecBlobsAreBounded(t *testing.T) {
	dir := copyOf(t, "v3-unsigned")
	s := closure(readLock(t, "v3-unsigned", "env-a"), buildcache.Runtime)[0]
	p := find(t, open(t, dir, nil), s)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	fmt.Fprint(z, `{"spec":{"x":"`)
	for range 40 {
		if _, err := z.Write(bytes.Repeat([]byte("a"), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(bomb.Bytes())
	digest := hex.EncodeToString(sum[:])
	m, err := buildcache.ParseManifest(readFile(t, dir, p.SpecKey))
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range m.Blobs {
		if kind, _ := b.Kind(); kind == buildcache.SpecBlob {
			m.Blobs[i].Size, m.Blobs[i].Checksum = int64(bomb.Len()), digest
			write(t, dir, m.Blobs[i].Key(), bomb.Bytes())
		}
	}
	write(t, dir, p.SpecKey, m.Text())
	c := open(t, dir, nil)
	if _, _, err := c.Spec(t.Context(), find(t, c, s)); !errors.Is(err, buildcache.ErrFormat) || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}
