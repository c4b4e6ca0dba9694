package listing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Keys that come in pieces, in any order of the pieces and with repetitions,
// are found again and stand in order.
func TestObjectsAreThoseThatWereListed(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		want := map[string]buildcache.Object{}
		for range random.IntN(300) + int(seed%20/19)*9000 {
			key := []string{"", "build_cache/", "v3/manifests/spec/", "blobs/sha256/", "\xff"}[random.IntN(5)]
			for range random.IntN(6) + int(seed%20/19)*6 {
				key += []string{"a", "b", "-", "/", "py-numpy", "\x00", "é"}[random.IntN(7)]
			}
			want[key] = buildcache.Object{Key: key, Size: random.Int64N(1 << 40), ETag: etags[random.IntN(len(etags))], ModTime: time.Unix(random.Int64N(1e9), random.Int64N(1e9)).UTC()}
		}
		var keys []string
		for key := range want {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		collectors := make([]Collector, 1+random.IntN(3))
		for range 1 + random.IntN(4) { // pieces, in order each; together they are all
			c := &collectors[random.IntN(len(collectors))]
			for _, key := range keys {
				if random.IntN(2) == 0 {
					c.Add(want[key], buildcache.KindOf(key))
				}
			}
		}
		for _, key := range keys {
			collectors[0].Add(want[key], buildcache.KindOf(key))
		}
		all := Merge(collectors)
		if all.Len() != len(keys) {
			t.Fatalf("seed %d: %d objects, want %d", seed, all.Len(), len(keys))
		}
		for i, key := range keys {
			at, ok := all.Find(key)
			if !ok || at != ID(i) || all.Key(at) != key || all.Get(at) != want[key] {
				t.Fatalf("seed %d: %q is %d (%v): %+v, want %+v", seed, key, at, ok, all.Get(at), want[key])
			}
			if at, ok := all.Find(key + "\x00"); ok != (want[key+"\x00"].Key != "") || int(at) != i+1 {
				t.Fatalf("seed %d: what follows %q is %d, %v", seed, key, at, ok)
			}
		}
		n := 0
		for i, key := range all.All() {
			if string(key) != keys[i] {
				t.Fatalf("seed %d: %q is not %q", seed, key, keys[i])
			}
			n++
		}
		if n != len(keys) {
			t.Fatalf("seed %d: %d of %d", seed, n, len(keys))
		}
	}
}

var etags = []string{
	"", "d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-7", "d41d8cd98f00b204e9800998ecf8427e-07", "d41d8cd98f00b204e9800998ecf8427e-99999",
	"d41d8cd98f00b204e9800998ecf8427e-", "D41D8CD98F00B204E9800998ECF8427E", "1f-18c3e8f2a0b1c2d3", "x", `W/"d41d"`, "d41d8cd98f00b204e9800998ecf8427e-1-1",
}

func TestListingInPiecesMakesFewRuns(t *testing.T) {
	var c Collector
	for page := range 20 {
		for shard := range 8 {
			for i := range 100 {
				c.Add(buildcache.Object{Key: fmt.Sprintf("blobs/sha256/%d/%05d", shard, 100*page+i)}, buildcache.Foreign)
			}
		}
	}
	if len(c.runs) > 8 {
		t.Errorf("%d runs of 20 pages of 8 shards", len(c.runs))
	}
	if all := Merge([]Collector{c}); all.Len() != 16000 {
		t.Errorf("%d objects", all.Len())
	}
}

// What lies between the objects of other runs is not copied.
func TestRunsThatDoNotMixAreNotCopied(t *testing.T) {
	var c Collector
	const pages = 40
	for page := range pages {
		for _, prefix := range []string{"build_cache/arch-gcc-", "build_cache/arch/gcc-"} {
			for i := range 1000 {
				c.Add(buildcache.Object{Key: fmt.Sprintf("%s%05d", prefix, 1000*page+i), Size: int64(page*1000 + i)}, buildcache.Foreign)
			}
		}
	}
	if len(c.runs) != 2 {
		t.Fatalf("%d runs, want 2", len(c.runs))
	}
	before := map[*chunk]bool{}
	for _, r := range c.runs {
		for _, chunk := range r.chunks {
			before[chunk] = true
		}
	}
	all := Merge([]Collector{c})
	copied := 0
	for _, chunk := range all.chunks {
		if !before[chunk] {
			copied++
		}
	}
	if copied > 2 {
		t.Errorf("%d of %d chunks were copied", copied, len(all.chunks))
	}
	for i := range ID(2 * pages * 1000) {
		if want := fmt.Sprintf("%05d", i%(pages*1000)); !strings.HasSuffix(all.Key(i), want) || all.At(i).Size != int64(i%(pages*1000)) {
			t.Fatalf("object %d is %s, %d bytes", i, all.Key(i), all.At(i).Size)
		}
		if at, ok := all.Find(all.Key(i)); !ok || at != i {
			t.Fatalf("%s is found at %d, not %d", all.Key(i), at, i)
		}
	}
}
