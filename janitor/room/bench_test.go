package room_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
	"github.com/openbraininstitute/spacktainers/janitor/clock"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/room"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// one is a store of one object.
type one struct {
	buildcache.ReadWriter
	data []byte
}

func (s *one) Get(_ context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	if s.data == nil {
		return nil, buildcache.Object{}, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(s.data)), buildcache.Object{Key: key, ETag: "x", Size: int64(len(s.data))}, nil
}

func (s *one) Put(_ context.Context, _ string, body io.ReaderAt, size int64, _ buildcache.PutOptions) (string, error) {
	s.data = make([]byte, size)
	_, err := body.ReadAt(s.data, 0)
	if err == io.EOF {
		err = nil
	}
	return "x", err
}

// condemned is a scan of so many specs.
func condemned(b *testing.B, specs int) *scan.Scan {
	var text bytes.Buffer
	text.WriteString(`{"database":{"version":"8","installs":{`)
	r, hash := rand.New(rand.NewPCG(1, 2)), make([]byte, 32)
	for i := range specs {
		for j := range hash {
			hash[j] = "abcdefghijklmnopqrstuvwxyz234567"[r.IntN(32)]
		}
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `"%s":{"spec":{"name":"p","version":"1","hash":"%s"},"ref_count":0,"in_buildcache":true}`, hash, hash)
	}
	text.WriteString("}}}")
	g, err := index.Read(&text, 0)
	if err != nil {
		b.Fatal(err)
	}
	s := &scan.Scan{DAG: dag.New(), Present: index.NewBits(specs)}
	s.DAG.AddGraph(g, true)
	for i := range s.DAG.Len() {
		s.Present.Set(dag.ID(i))
	}
	return s
}

// BenchmarkRoom writes the room of a mirror in which all is condemned, and reads it.
func BenchmarkRoom(b *testing.B) {
	now := clock.Moment{Ours: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for _, specs := range []int{100_000, 1_000_000} {
		if specs > 100_000 && testing.Short() {
			b.Skip("a GB of memory")
		}
		s, store := condemned(b, specs), &one{}
		write := func() {
			r, random := (&room.Room{}).Next("s3://our-cache", "", now, 0), rand.New(rand.NewPCG(3, 4))
			for i := range s.DAG.Len() {
				r.Put(dag.ID(i), room.Entry{Digest: random.Uint64(), Run: 1, Why: room.Unneeded})
			}
			if err := r.Write(b.Context(), store, s); err != nil {
				b.Fatal(err)
			}
		}
		write()
		b.Run(fmt.Sprintf("write/specs=%d", specs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				write()
			}
			b.ReportMetric(float64(len(store.data))/float64(specs), "file-B/spec")
		})
		b.Run(fmt.Sprintf("read/specs=%d", specs), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r, err := room.Read(b.Context(), store, "s3://our-cache", s); err != nil || r.Lost != "" || r.Head.Specs != specs {
					b.Fatal(r.Lost, err)
				}
			}
		})
	}
}
