package s3_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
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

// Some servers name every key that they have deleted, which nobody has asked
// for. An error among them counts all the same.
func TestServersThatNameWhatTheyDeleted(t *testing.T) {
	const deleted = "<Deleted><Key>cache/a</Key></Deleted>"
	opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1", AccessKey: "id", SecretKey: "secret"})
	for reply, failed := range map[string]int{
		`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + deleted + "</DeleteResult>\n": 0,
		"<DeleteResult>" + deleted + "<Error><Key>cache/b</Key><Code>AccessDenied</Code></Error></DeleteResult>":                                           1,
		"<DeleteResult>" + deleted + "<x:Error><Key>cache/b</Key><Code>AccessDenied</Code></x:Error></DeleteResult>":                                       1,
		"<DeleteResult><Deleted><Key>cache/Error</Key></Deleted></DeleteResult>":                                                                           0,
	} {
		opts.HTTPClient = replay(reply)
		err := open(t, "s3://bucket/cache", opts).Delete(t.Context(), []string{"a", "b"})
		var per *buildcache.DeleteError
		if errors.As(err, &per); failed == 0 && err != nil || failed > 0 && (per == nil || len(per.Failed) != failed) {
			t.Errorf("%s: got %v", reply, err)
		}
	}
}
