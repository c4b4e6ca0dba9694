package index_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/internal/testing/synth"
)

// To measure the CPU time and peak memory of a whole process, run the test
// binary by itself, the second time, when the index stands in $INDEX_BENCH:
//
//	go test -c ./buildcache/index
//	INDEX_BENCH=/tmp /usr/bin/time -v ./index.test -test.run=NONE -test.bench='^BenchmarkRead$/^1000000$' -test.benchtime=1x

// file returns the path of an index of that many specs.
func file(b *testing.B, specs int) string {
	b.Helper()
	dir := os.Getenv("INDEX_BENCH")
	if dir == "" {
		if specs > 100_000 {
			b.Skip("needs 2 GB: set INDEX_BENCH to a folder for it")
		}
		dir = b.TempDir()
	}
	name := filepath.Join(dir, fmt.Sprintf("index-%d.json", specs))
	if _, err := os.Stat(name); err == nil {
		return name
	}
	f, err := os.Create(name + ".tmp")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := synth.Index(f, specs, 1); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		b.Fatal(err)
	}
	return name
}

func open(b *testing.B, specs int) (*os.File, int64) {
	b.Helper()
	f, err := os.Open(file(b, specs))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return f, info.Size()
}

func BenchmarkRead(b *testing.B) {
	for _, specs := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(specs), func(b *testing.B) {
			f, size := open(b, specs)
			b.SetBytes(size)
			b.ReportAllocs()
			var g *index.Graph
			before := live()
			for b.Loop() {
				g = readFile(b, f, size)
			}
			b.ReportMetric(float64(live()-before)/float64(g.Len()), "kept-B/spec")
		})
	}
}

// live returns the bytes of the heap that are in use.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkUnknownSize is what a reader costs that cannot make room in
// advance.
func BenchmarkUnknownSize(b *testing.B) {
	f, size := open(b, 100_000)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		readFile(b, f, 0)
	}
}

func readFile(b *testing.B, f *os.File, size int64) *index.Graph {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	g, err := index.Read(f, size)
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// BenchmarkEncodingJSON reads the same with the standard library, a record at
// a time.
func BenchmarkEncodingJSON(b *testing.B) {
	f, size := open(b, 10_000)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		d := json.NewDecoder(f)
		for range 6 { // { database { version 7 installs
			d.Token()
		}
		d.Token()
		n := 0
		for ; d.More(); n++ {
			var r struct {
				Spec struct {
					Name, Version, Hash string
					External            json.RawMessage
					Dependencies        []struct {
						Hash       string
						Parameters struct{ Deptypes []string }
					}
				}
				RefCount uint32 `json:"ref_count"`
				InCache  bool   `json:"in_buildcache"`
			}
			if _, err := d.Token(); err != nil {
				b.Fatal(err)
			}
			if err := d.Decode(&r); err != nil {
				b.Fatal(err)
			}
		}
		if n != 10_000 {
			b.Fatalf("got %d records", n)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	for _, specs := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(specs), func(b *testing.B) {
			f, size := open(b, specs)
			g := readFile(b, f, size)
			roots := g.Entries()[specs/2:]
			keep := g.Mark(roots, buildcache.Runtime)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := g.Rewrite(io.Discard, f, keep); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMark(b *testing.B) {
	f, size := open(b, 100_000)
	g := readFile(b, f, size)
	roots := g.Entries()[50_000:]
	b.ReportAllocs()
	for b.Loop() {
		g.Mark(roots, buildcache.Runtime)
	}
}

func TestIndexesOfSynthAgreeWithTheOracle(t *testing.T) {
	for _, layout := range []int{2, 3} {
		var text bytes.Buffer
		if err := (synth.Cache{Specs: 2000, Seed: 3, Layout: layout}).Index(&text); err != nil {
			t.Fatal(err)
		}
		want, err := oracle(text.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := compare(read(t, text.Bytes()), want); err != nil {
			t.Error(err)
		}
	}
}

// lockfile returns the path of a lockfile of that many nodes.
func lockfile(b *testing.B, nodes int) string {
	b.Helper()
	dir := os.Getenv("INDEX_BENCH")
	if dir == "" {
		dir = b.TempDir()
	}
	name := filepath.Join(dir, fmt.Sprintf("spack-%d.lock", nodes))
	if _, err := os.Stat(name); err == nil {
		return name
	}
	c := synth.Cache{Specs: nodes, Seed: 1, Layout: 3}
	if err := os.WriteFile(name, c.Lockfile(c.Roots(nodes)...), 0o644); err != nil {
		b.Fatal(err)
	}
	return name
}

// measureLock reports what a reader of lockfiles costs.
func measureLock(b *testing.B, read func(name string) any) {
	name := lockfile(b, 50_000)
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	var l any
	before := live()
	for b.Loop() {
		l = read(name)
	}
	b.ReportMetric(float64(live()-before)/50_000, "kept-B/node")
	runtime.KeepAlive(l)
}

// BenchmarkReadLock reads a lockfile of 100 MB as a stream.
func BenchmarkReadLock(b *testing.B) {
	measureLock(b, func(name string) any {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			b.Fatal(err)
		}
		l, err := index.ReadLock(f, info.Size())
		if err != nil {
			b.Fatal(err)
		}
		return l
	})
}

// BenchmarkReadLockfile reads the same with encoding/json.
func BenchmarkReadLockfile(b *testing.B) {
	measureLock(b, func(name string) any {
		l, err := buildcache.ReadLockfile(name)
		if err != nil {
			b.Fatal(err)
		}
		return l
	})
}
