package s3_test

import (
	"fmt"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/s3test"
)

func TestDeletingAKeyIsNoAllocation(t *testing.T) {
	opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1", AccessKey: "id", SecretKey: "secret"})
	opts.HTTPClient = replay("<DeleteResult/>")
	s := open(t, "s3://bucket/cache", opts)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("blobs/sha256/%064x", i)
	}
	n := testing.AllocsPerRun(5, func() {
		if err := s.Delete(t.Context(), keys); err != nil {
			t.Error(err)
		}
	})
	if n > 900 {
		t.Errorf("%v allocations for %d keys", n, len(keys))
	}
}
