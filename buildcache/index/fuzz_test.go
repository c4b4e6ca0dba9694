package index_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/index"
)

func FuzzRead(f *testing.F) {
	for _, tt := range hostile {
		f.Add([]byte(tt.text))
	}
	f.Add([]byte(small))
	f.Fuzz(func(t *testing.T, data []byte) {
		want, wantErr := oracle(data)
		got, err := index.Read(bytes.NewReader(data), int64(len(data)/2+1)) // the window ends in its middle
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got %v, the oracle says %v", err, wantErr)
		}
		if err != nil {
			if !errors.Is(err, buildcache.ErrFormat) {
				t.Errorf("got %v, want ErrFormat", err)
			}
			return
		}
		if err := compare(got, want); err != nil {
			t.Error(err)
		}
	})
}

func FuzzRewrite(f *testing.F) {
	for _, tt := range hostile {
		f.Add([]byte(tt.text), uint64(1))
	}
	f.Add([]byte(small), uint64(0))
	f.Add([]byte(small), uint64(2))
	f.Add([]byte(small), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, kept uint64) {
		before, err := oracle(data)
		if err != nil {
			return
		}
		g, err := index.Read(bytes.NewReader(data), 0)
		if err != nil {
			t.Fatal(err)
		}
		bits, keep := index.NewBits(g.Len()), map[string]bool{}
		for i, h := range before.order {
			if kept>>(i%64)&1 != 0 {
				id, _ := g.Lookup(buildcache.Hash(h))
				bits.Set(id)
				keep[h] = true
			}
		}
		var out bytes.Buffer
		err = g.Rewrite(&out, bytes.NewReader(data), bits)
		if g.Note() != "" { // of a version that nobody tried
			if !errors.Is(err, index.ErrNewer) || out.Len() > 0 {
				t.Fatalf("got %v and %d bytes, want ErrNewer and none", err, out.Len())
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		after, err := oracle(out.Bytes())
		if err != nil {
			t.Fatalf("%v: %s", err, out.Bytes())
		}
		again, err := index.Read(&out, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := before.filtered(keep)
		if err := compare(again, want); err != nil {
			t.Error(err)
		}
		if err := compare(again, after); err != nil {
			t.Error(err)
		}
	})
}

// FuzzLock compares with buildcache.ParseLockfile; see agree.
func FuzzLock(f *testing.F) {
	for _, tt := range hostileLocks {
		f.Add([]byte(tt.text))
	}
	f.Add(locksOfSpack(f)["../../testdata/spack/v3-signed/locks/env-hello.spack.lock"])
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := agree(data, int64(len(data)/2+1)); err != nil {
			t.Error(err)
		}
	})
}
