package scan

import (
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Few pages are not worth 16 listings.
func TestBlobsAreListedInShardsIfThereAreMany(t *testing.T) {
	first := []buildcache.Object{{Key: "blobs/other"}, {Key: "blobs/sha256/ab/ab" + strings.Repeat("0", 62)}}
	if few, many := shards(first, manyManifests-1), shards(first, manyManifests); few != nil || len(many) != 16 {
		t.Errorf("got %v and %v", few, many)
	}
	v2 := []buildcache.Object{{Key: "build_cache/linux-debian12-x86_64_v3-gcc-12.2.0-zlib-1.3-" + strings.Repeat("a", 32) + ".spec.json"}}
	if got := shards(v2, 0); len(got) != 1 || got[0] != "build_cache/linux-debian12-x86_64_v3/" {
		t.Errorf("got %v", got)
	}
}
