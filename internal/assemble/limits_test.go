package assemble

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// packed is a gzipped package that fill adds entries to.
func packed(t testing.TB, level int, fill func(w *tar.Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(zipped)
	fill(w)
	writeFile(t, w, at+"/"+buildInfo, built)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t testing.TB, w *tar.Writer, name, text string) {
	t.Helper()
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func readTarball(data []byte) (contents, error) {
	c, _, err := readLayer(bytes.NewReader(data), &buildcache.Package{Spec: testSpec, Size: int64(len(data))})
	return c, err
}

func TestATarballThatUnpacksToTooMuchIsRefused(t *testing.T) {
	bomb := packed(t, gzip.BestCompression, func(w *tar.Writer) {
		size := int64(alwaysUnpack) + 64<<20
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: at + "/zeros", Size: size, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(w, zeros{}, size); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := readTarball(bomb); err == nil || !strings.Contains(err.Error(), "times its size") {
		t.Errorf("%d bytes: %v", len(bomb), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What follows the end of an archive is read by some unpackers and not by
// others.
func TestASecondArchiveIsRefused(t *testing.T) {
	var plain bytes.Buffer
	for range 2 {
		w := tar.NewWriter(&plain)
		writeFile(t, w, at+"/"+buildInfo, built)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readContents(bytes.NewReader(plain.Bytes()), testSpec); err == nil || !strings.Contains(err.Error(), "end of the archive") {
		t.Errorf("got %v", err)
	}
	padded := append(plain.Bytes()[:plain.Len()/2], make([]byte, 10240)...)
	if _, err := readContents(bytes.NewReader(padded), testSpec); err != nil {
		t.Errorf("padding: %v", err)
	}
}

// Twice the entries take twice the time and memory, and little of both: links
// to folders, which views look into, are among them.
func TestTarballsOfManyEntriesAreLinear(t *testing.T) {
	work := func(n int) (bytes uint64, took time.Duration) {
		data := packed(t, gzip.BestSpeed, func(w *tar.Writer) {
			for i := range n {
				writeFile(t, w, fmt.Sprintf("%s/d%d/e%d/f%d", at, i%100, i%7, i), "")
				if i%50 == 0 {
					header := &tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("%s/l%d", at, i), Linkname: "d1", Mode: 0o777}
					if err := w.WriteHeader(header); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		c, err := readTarball(data)
		if err != nil || len(c.Files) < n {
			t.Fatal(len(c.Files), err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc, time.Since(began)
	}
	one, _ := work(20_000)
	two, took := work(40_000)
	t.Logf("40 000 entries: %d MB allocated, %v", two>>20, took)
	most := uint64(80 << 20)
	if size.Race { // which makes allocations larger
		most *= 2
	}
	if two > 3*one || two > most {
		t.Errorf("20 000 entries take %d MB, 40 000 take %d MB", one>>20, two>>20)
	}
}

func TestSparseFilesAreRefused(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"old GNU":  {Typeflag: tar.TypeGNUSparse, Name: at + "/sparse", Format: tar.FormatGNU},
		"PAX 1.0":  {Typeflag: tar.TypeReg, Name: at + "/sparse", PAXRecords: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1099511627776"}},
		"PAX name": {Typeflag: tar.TypeReg, Name: at + "/sparse", PAXRecords: map[string]string{"GNU.sparse.name": "x"}},
	} {
		c := checker{index: map[string]int32{}}
		if err := c.add(&h, strings.NewReader("")); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
