package scan

import (
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Few pages are not worth several listings.
func TestALotIsListedInShards(t *testing.T) {
	first := []buildcache.Object{{Key: "blobs/other"}, {Key: "blobs/sha256/ab/ab" + strings.Repeat("0", 62)}}
	if few, many := shards(first, manyManifests-1), shards(first, manyManifests); few != nil || len(many) != 16 {
		t.Errorf("got %v and %v", few, many)
	}
	v2 := []buildcache.Object{{Key: "build_cache/linux-debian12-x86_64_v3-gcc-12.2.0-zlib-1.3-" + strings.Repeat("a", 32) + ".spec.json"}}
	for size, want := range map[int64]int{-1: 1, bigIndex - 1: 0, bigIndex: 1} { // -1: there is no index
		page := v2
		if size > 0 {
			page = append([]buildcache.Object{{Key: IndexV2, Size: size}, {Key: IndexHashV2, Size: 64}}, v2...)
		}
		if got := shards(page, 0); len(got) != want || want == 1 && got[0] != "build_cache/linux-debian12-x86_64_v3/" {
			t.Errorf("with an index of %d bytes: got %v", size, got)
		}
	}
}
