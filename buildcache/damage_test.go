package buildcache_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Each damage is done to one package of a copied cache. It must show when that
// package is found or read, under the name of an object, and nowhere else.
func TestDamageIsNamed(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(data []byte) []byte {
			if !bytes.Contains(data, []byte(old)) {
				panic("the fixture has no " + old)
			}
			return bytes.Replace(data, []byte(old), []byte(new), 1)
		}
	}
	half := func(data []byte) []byte { return data[:len(data)/2] }
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	gone := func([]byte) []byte { return nil }
	spec := func(p *buildcache.Package) string { return p.SpecKey }
	tarball := func(p *buildcache.Package) string { return p.Key }
	longer := func(data []byte) []byte { return append(data, 0) }
	empty := func([]byte) []byte { return []byte{} }

	tests := []struct {
		name, cache string
		signed      bool // keys are given
		object      func(*buildcache.Package) string
		damage      func([]byte) []byte
		want        error
		say         string
	}{
		{"forged signature", "v2-signed", true, spec, replace(`"version":"`, `"version":"9`), buildcache.ErrSignature, fixtureKey},
		{"forged signature", "v3-signed", true, spec, replace(`"contentLength":`, `"contentLength":1`), buildcache.ErrSignature, fixtureKey},
		{"forged but signatures are not asked for", "v3-signed", false, spec, replace(`"contentLength":`, `"contentLength":1`), buildcache.ErrChecksum, "ends after"},
		{"unsigned", "v2-unsigned", true, spec, nil, buildcache.ErrSignature, "not signed"},
		{"unsigned", "v3-unsigned", true, spec, nil, buildcache.ErrSignature, "not signed"},
		{"cut signature", "v2-signed", true, spec, half, buildcache.ErrSignature, "cut off"},
		{"cut signature", "v3-signed", false, spec, half, buildcache.ErrFormat, "cut off"},
		{"text after the signature", "v3-signed", true, spec, func(d []byte) []byte { return append(d, d...) }, buildcache.ErrSignature, "after"},
		{"text before the signature", "v3-signed", true, spec, func(d []byte) []byte { return append([]byte("{}\n"), d...) }, buildcache.ErrSignature, "not signed"},

		{"flipped byte", "v2-unsigned", false, tarball, flip, buildcache.ErrChecksum, "sha256"},
		{"flipped byte", "v3-signed", true, tarball, flip, buildcache.ErrChecksum, "sha256"},
		{"truncated tarball", "v2-signed", true, tarball, half, buildcache.ErrChecksum, "sha256"},
		{"truncated tarball", "v3-unsigned", false, tarball, half, buildcache.ErrChecksum, "ends after"},
		{"empty tarball", "v2-unsigned", false, tarball, empty, buildcache.ErrChecksum, "sha256"},
		{"empty tarball", "v3-unsigned", false, tarball, empty, buildcache.ErrChecksum, "ends after"},
		{"longer tarball", "v2-unsigned", false, tarball, longer, buildcache.ErrChecksum, "sha256"},
		{"longer tarball", "v3-unsigned", false, tarball, longer, buildcache.ErrChecksum, "longer than"},
		{"missing tarball", "v2-unsigned", false, tarball, gone, buildcache.ErrNotInCache, "push"},
		{"missing tarball", "v3-unsigned", false, tarball, gone, buildcache.ErrNotInCache, "push"},
		{"missing spec file", "v2-unsigned", false, spec, gone, buildcache.ErrNotInCache, "push"},
		{"missing manifest", "v3-signed", true, spec, gone, buildcache.ErrNotInCache, "push"},

		{"truncated JSON", "v2-unsigned", false, spec, half, buildcache.ErrFormat, "unexpected end"},
		{"truncated JSON", "v3-unsigned", false, spec, half, buildcache.ErrFormat, "unexpected end"},
		{"null", "v2-unsigned", false, spec, func([]byte) []byte { return []byte("null") }, buildcache.ErrFormat, ""},
		{"null", "v3-unsigned", false, spec, func([]byte) []byte { return []byte("null") }, buildcache.ErrFormat, ""},
		{"two documents", "v3-unsigned", false, spec, func(d []byte) []byte { return append(d, d...) }, buildcache.ErrFormat, "after top-level"},
		{"wrong checksum in the manifest", "v3-unsigned", false, spec, changeDigit, buildcache.ErrNotInCache, "missing"},
		{"wrong checksum in the spec file", "v2-unsigned", false, spec, changeDigit, buildcache.ErrChecksum, "push"},
		{"other algorithm", "v2-unsigned", false, spec, replace(`"sha256"`, `"md5"`), buildcache.ErrFormat, "md5"},
		{"other algorithm", "v3-unsigned", false, spec, replace(`"sha256"`, `"../../x"`), buildcache.ErrFormat, "../../x"},
		{"unknown manifest version", "v3-unsigned", false, spec, replace(`"version":3`, `"version":4`), buildcache.ErrFormat, "version 4"},
		{"no manifest version", "v3-unsigned", false, spec, replace(`"version":3,`, ``), buildcache.ErrFormat, "no version"},
		{"unknown compression", "v3-unsigned", false, spec, replace(`"gzip"`, `"zstd"`), buildcache.ErrFormat, "zstd"},
		{"tarball not compressed", "v3-unsigned", false, spec, replace(`"gzip"`, `"none"`), buildcache.ErrFormat, "none"},
		{"no tarball in the manifest", "v3-unsigned", false, spec, replace(buildcache.MediaTypeTarball, "x/y"), buildcache.ErrFormat, "no tarball"},
		{"no spec in the manifest", "v3-unsigned", false, spec, replace(buildcache.MediaTypeSpec, "x/y"), buildcache.ErrFormat, "no spec"},
		{"two tarballs in the manifest", "v3-unsigned", false, spec, replace(buildcache.MediaTypeSpec, buildcache.MediaTypeTarball), buildcache.ErrFormat, "two blobs"},
		{"old spec file version", "v2-unsigned", false, spec, replace(`"version":4`, `"version":1`), buildcache.ErrFormat, "version 1"},
		{"old tarball layout", "v2-unsigned", false, spec, replace(`"buildcache_layout_version":2`, `"buildcache_layout_version":0`), buildcache.ErrFormat, "push the package again"},
		{"no nodes", "v2-unsigned", false, spec, func([]byte) []byte {
			return []byte(`{"spec":{"_meta":{"version":4},"nodes":[]},"buildcache_layout_version":2}`)
		}, buildcache.ErrFormat, "no nodes"},
		{"a node null", "v2-unsigned", false, spec, func([]byte) []byte {
			return []byte(`{"spec":{"_meta":{"version":4},"nodes":[null]},"buildcache_layout_version":2}`)
		}, buildcache.ErrFormat, "no name"},
	}
	for _, tt := range tests {
		t.Run(tt.cache+"/"+tt.name, func(t *testing.T) {
			dir := copyOf(t, tt.cache)
			specs := closure(readLock(t, tt.cache, "env-a"), buildcache.Runtime)
			victim, other := specs[len(specs)-1], specs[0]
			key := tt.object(find(t, open(t, dir, nil), victim))
			damage(t, dir, key, tt.damage)

			c := open(t, dir, fixtureKeysIf(t, tt.signed))
			_, err := findAndRead(t, c, victim)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.say) {
				t.Fatalf("got %v; want %v with %q", err, tt.want, tt.say)
			}
			if o := (*buildcache.ObjectError)(nil); !errors.As(err, &o) && tt.name != "missing spec file" && tt.name != "missing manifest" {
				t.Errorf("got %v, want an ObjectError", err)
			} else if o != nil && !strings.Contains(err.Error(), key) {
				t.Errorf("got %v, want the object %s named", err, key)
			}
			if _, err := findAndRead(t, c, other); err != nil && tt.damage != nil {
				t.Errorf("another package: %v", err)
			}
		})
	}
}

func TestSpecFileUnderTheNameOfAnotherIsRefused(t *testing.T) {
	for _, name := range fixtures {
		signed := strings.HasSuffix(name, "-signed")
		dir := copyOf(t, name)
		specs := closure(readLock(t, name, "env-a"), buildcache.Runtime)
		plain := open(t, dir, nil)
		mine, other := find(t, plain, specs[0]), find(t, plain, specs[1])
		write(t, dir, mine.SpecKey, readFile(t, dir, other.SpecKey))

		_, err := open(t, dir, fixtureKeysIf(t, signed)).Find(t.Context(), specs[0])
		switch {
		case name == "v3-unsigned": // installing needs no more than the manifest
			_, _, err = plain.Spec(t.Context(), find(t, plain, specs[0]))
			fallthrough
		case mine.Layout == 2:
			if !errors.Is(err, buildcache.ErrFormat) {
				t.Errorf("%s: got %v, want ErrFormat", name, err)
			}
		default:
			if !errors.Is(err, buildcache.ErrSignature) {
				t.Errorf("%s: got %v, want ErrSignature", name, err)
			}
		}
	}
}

func TestSpecBlobIsVerified(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func([]byte) []byte
		want   error
	}{
		"gone":    {func([]byte) []byte { return nil }, buildcache.ErrNotInCache},
		"flipped": {func(d []byte) []byte { d[20] ^= 1; return d }, buildcache.ErrChecksum},
		"cut":     {func(d []byte) []byte { return d[:20] }, buildcache.ErrChecksum},
	} {
		dir := copyOf(t, "v3-signed")
		s := closure(readLock(t, "v3-signed", "env-a"), buildcache.Runtime)[0]
		p := find(t, open(t, dir, nil), s)
		m, err := buildcache.ParseManifest(readFile(t, dir, p.SpecKey))
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Blob(buildcache.SpecBlob)
		if err != nil {
			t.Fatal(err)
		}
		damage(t, dir, b.Key(), tt.damage)
		c := open(t, dir, nil)
		if _, err := findAndRead(t, c, s); err != nil {
			t.Errorf("%s: installing does not need it: %v", name, err)
		}
		if _, _, err := c.Spec(t.Context(), p); !errors.Is(err, tt.want) {
			t.Errorf("%s: Spec: got %v, want %v", name, err, tt.want)
		}
		if _, err := open(t, dir, fixtureKeys(t)).Find(t.Context(), s); !errors.Is(err, tt.want) {
			t.Errorf("%s: Find with keys: got %v, want %v", name, err, tt.want)
		}
	}
}

func TestOpenGivesTheSameErrorAgain(t *testing.T) {
	dir := copyOf(t, "v3-unsigned")
	s := closure(readLock(t, "v3-unsigned", "env-a"), buildcache.Runtime)[0]
	c := open(t, dir, nil)
	p := find(t, c, s)
	damage(t, dir, p.Key, func(d []byte) []byte { d[9] ^= 1; return d })
	r, err := c.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buf := make([]byte, 1<<20)
	for err == nil {
		_, err = r.Read(buf)
	}
	if n, again := r.Read(buf); n != 0 || again != err || !errors.Is(err, buildcache.ErrChecksum) {
		t.Errorf("got %v, then %d, %v", err, n, again)
	}
}

func damage(t *testing.T, dir, key string, f func([]byte) []byte) {
	t.Helper()
	if f == nil {
		return
	}
	if data := f(readFile(t, dir, key)); data != nil {
		write(t, dir, key, data)
	} else {
		remove(t, dir, key)
	}
}

// changeDigit changes a digit of the checksum of the tarball.
func changeDigit(data []byte) []byte {
	mark := `"checksum":"`
	i := bytes.Index(data, []byte(mark))
	if i < 0 {
		mark = `"hash":"`
		i = bytes.LastIndex(data, []byte(mark))
	}
	i += len(mark)
	data[i] = map[bool]byte{true: '1', false: '0'}[data[i] == '0']
	return data
}

func findAndRead(t *testing.T, c *buildcache.Cache, s *buildcache.Spec) ([]byte, error) {
	t.Helper()
	p, err := c.Find(t.Context(), s)
	if err != nil {
		return nil, err
	}
	return read(t, c, p)
}
