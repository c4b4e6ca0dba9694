package buildtime

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/file"
)

// A bucket is a store in memory that counts what is read of it.
type bucket struct {
	objects map[string][]byte
	mu      sync.Mutex // of what follows: several readers ask at once
	reads   int
	bytes   int
	fail    error
}

func (b *bucket) List(context.Context, string) iter.Seq2[buildcache.Object, error] { return nil }

func (b *bucket) Get(context.Context, string) (io.ReadCloser, buildcache.Object, error) {
	return nil, buildcache.Object{}, errors.New("the whole object was asked for")
}

func (b *bucket) GetRange(_ context.Context, key string, offset, length int64) (io.ReadCloser, buildcache.Object, error) {
	b.mu.Lock()
	b.reads++
	b.bytes += int(length)
	b.mu.Unlock()
	data, ok := b.objects[key]
	switch {
	case b.fail != nil:
		return nil, buildcache.Object{}, b.fail
	case !ok:
		return nil, buildcache.Object{}, fs.ErrNotExist
	case offset+length > int64(len(data)):
		return nil, buildcache.Object{}, fmt.Errorf("%d bytes from %d on of %d", length, offset, len(data))
	}
	return io.NopCloser(bytes.NewReader(data[offset : offset+length])), buildcache.Object{}, nil
}

// packed makes a tarball of files: each name is followed by its content.
func packed(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(files[i+1]))})
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// noise is text that does not compress.
func noise(n int) string {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(data) // never fails
	return string(data)
}

const times = `{"total":12.5,"phases":[{"name":"stage","path":"stage","seconds":2,"count":1}],"cache":false}`

func TestOnlyTheBeginningOfATarballIsRead(t *testing.T) {
	dir := "opt/software/x-1/.spack/"
	for _, c := range []struct {
		name     string
		manifest int // bytes
		reads    int
	}{{"small manifest", 5_000, 1}, {"one of 100 000 files", 3_000_000, 7}} {
		data := packed(t, dir+"install_manifest.json", noise(c.manifest), dir+"install_times.json", times, "opt/software/x-1/bin/x", noise(12_000_000))
		b := &bucket{objects: map[string][]byte{"x": data}}
		seconds, err := Read(t.Context(), b, "x", int64(len(data)))
		if err != nil || seconds != 12.5 {
			t.Errorf("%s: got %g, %v", c.name, seconds, err)
		}
		if b.reads != c.reads || b.bytes > 3*c.manifest+firstPart {
			t.Errorf("%s: %d requests for %d bytes, want %d", c.name, b.reads, b.bytes, c.reads)
		}
	}
}

func TestATarballThatDoesNotSayIsNotBelieved(t *testing.T) {
	dir := "opt/software/x-1/.spack/"
	for name, data := range map[string][]byte{
		"none":           packed(t, dir+"spec.json", "{}", "opt/software/x-1/bin/x", "x", dir+"install_times.json", times),
		"from a cache":   packed(t, dir+"install_times.json", strings.Replace(times, "false", "true", 1)),
		"of a package":   packed(t, "opt/software/x-1/share/install_times.json", times),
		"no JSON":        packed(t, dir+"install_times.json", "twelve"),
		"negative":       packed(t, dir+"install_times.json", `{"total":-3}`),
		"for ever":       packed(t, dir+"install_times.json", `{"total":1e300}`),
		"no tarball":     []byte("no tarball"),
		"cut":            packed(t, dir+"install_manifest.json", noise(100_000), dir+"install_times.json", times)[:50_000],
		"nothing at all": {},
	} {
		b := &bucket{objects: map[string][]byte{"x": data}}
		if seconds, err := Read(t.Context(), b, "x", int64(len(data))); err != nil || seconds != -1 {
			t.Errorf("%s: got %g, %v", name, seconds, err)
		}
	}
	if seconds := Parse([]byte(`{"phases":[{"path":"a","seconds":2},{"path":"a/b","seconds":1},{"path":"c","seconds":3}]}`)); seconds != 5 {
		t.Errorf("got %g of phases alone, want 5", seconds)
	}
	b := &bucket{objects: map[string][]byte{}}
	if seconds, err := Read(t.Context(), b, "gone", 10); err != nil || seconds != -1 {
		t.Errorf("a tarball that is gone: got %g, %v", seconds, err)
	}
	b.fail = errors.New("down")
	if _, err := Read(t.Context(), b, "x", 10); !errors.Is(err, b.fail) {
		t.Errorf("a store that does not answer: got %v", err)
	}
}

// All tarballs of real Spack say how long they took, in both layouts.
func TestRealTarballsSayHowLongTheyTook(t *testing.T) {
	for _, cache := range []string{"v2-unsigned", "v3-signed"} {
		dir := filepath.Join("..", "..", "testdata", "spack", cache, "cache")
		store, n := file.New(dir), 0
		for o, err := range store.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if kind := buildcache.KindOf(o.Key); kind != buildcache.Tarball && (kind != buildcache.BlobObject || o.Size < 3000) {
				continue
			}
			seconds, err := Read(t.Context(), store, o.Key, o.Size)
			if err != nil {
				t.Fatal(err)
			}
			if seconds > 0 {
				n++
			}
		}
		if n < 30 {
			t.Errorf("%s: %d packages say so", cache, n)
		}
	}
}

func TestWhatIsRememberedIsNotReadAgain(t *testing.T) {
	dir := "opt/software/x-1/.spack/"
	b := &bucket{objects: map[string][]byte{"x": packed(t, dir+"install_times.json", times), "none": packed(t, dir+"spec.json", "{}")}}
	ask := func() []*Package {
		return []*Package{
			{Name: "x", Key: "x", Digest: "sha256:1", Size: int64(len(b.objects["x"]))},
			{Name: "none", Key: "none", Digest: "sha256:2", Size: int64(len(b.objects["none"]))},
			{Name: "x", Size: 5},
		}
	}
	path := filepath.Join(t.TempDir(), "sub", "times.json")
	for round := range 3 {
		if round == 2 {
			b.fail = errors.New("asked again")
		}
		m := OpenMemory(path)
		all := ask()
		if err := errors.Join(m.Fill(t.Context(), b, all), m.Save()); err != nil {
			t.Fatal(err)
		}
		if all[0].Seconds != 12.5 || all[0].Estimated || !all[1].Estimated || all[1].Seconds <= 0 {
			t.Errorf("round %d: got %+v and %+v", round, all[0], all[1])
		}
		if all[2].Seconds != 12.5 || !all[2].Estimated {
			t.Errorf("round %d: another x is estimated at %g seconds, want those of the one that is known", round, all[2].Seconds)
		}
	}
	if b.reads != 2 {
		t.Errorf("%d requests, want 2", b.reads)
	}
}
