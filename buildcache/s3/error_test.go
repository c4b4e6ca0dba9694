package s3_test

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

// canned is a store whose server answers everything alike.
func canned(t *testing.T, reply string) *s3.Store {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, reply)
	}))
	t.Cleanup(server.Close)
	return open(t, "s3://bucket/cache", options(&s3test.Server{Endpoint: server.URL, AccessKey: "id", SecretKey: "secret"}))
}

// everything calls what a store can do; each must fail.
func everything(t *testing.T, s *s3.Store) map[string]error {
	t.Helper()
	_, listErr := list(t, s)
	var shardErr error
	for _, shardErr = range s.ListShards(t.Context(), "", nil) {
	}
	_, _, getErr := s.Get(t.Context(), "a")
	_, _, rangeErr := s.GetRange(t.Context(), "a", 0, 1)
	_, statErr := s.Stat(t.Context(), "a")
	_, putErr := s.Put(t.Context(), "a", strings.NewReader("x"), 1, buildcache.PutOptions{})
	_, versionErr := s.Versioning(t.Context())
	return map[string]error{
		"List": listErr, "ListShards": shardErr, "Get": getErr, "GetRange": rangeErr, "Stat": statErr, "Put": putErr, "Versioning": versionErr,
		"Copy": s.Copy(t.Context(), "a", "b"), "Delete": s.Delete(t.Context(), []string{"a"}),
	}
}

// mustFail wants each error to be one sentence with some words, and none to
// look like a missing object.
func mustFail(t *testing.T, s *s3.Store, want string) {
	t.Helper()
	for name, err := range everything(t, s) {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "operation error") || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: got %v, want … %s", name, err, want)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, buildcache.ErrChanged) {
			t.Errorf("%s: %v is fs.ErrNotExist or ErrChanged", name, err)
		}
	}
}

func TestMissingBucketIsNoMissingObject(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		mustFail(t, open(t, "s3://no-such-bucket/a", options(server)), `there is no bucket "no-such-bucket"`)
	})
}

func TestWrongCredentials(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		opts := options(server)
		opts.Credentials = s3.Keys("unknown-key", server.SecretKey, "")
		mustFail(t, open(t, "s3://"+bucket, opts), "TEST_ACCESS_KEY_ID")
		opts.Credentials = s3.Keys(server.AccessKey, "wrong", "")
		mustFail(t, open(t, "s3://"+bucket, opts), "TEST_ACCESS_KEY_ID")
	})
}

func TestUnreachableServer(t *testing.T) {
	opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1", AccessKey: "id", SecretKey: "secret"})
	mustFail(t, open(t, "s3://bucket", opts), "cannot reach http://127.0.0.1:1: connect: connection refused")
}

func TestNoCredentials(t *testing.T) {
	opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1"})
	opts.Credentials, opts.KeysFrom = nil, ""
	mustFail(t, open(t, "s3://bucket", opts), "no credentials found: set AWS_ACCESS_KEY_ID")
}

func TestAnonymousReads(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		owner := open(t, "s3://"+bucket+"/cache", options(server))
		storetest.Put(t, owner, "a", "text")
		opts := options(server)
		opts.Credentials, opts.Anonymous = nil, true
		s := open(t, "s3://"+bucket+"/cache", opts)
		if _, err := list(t, s); err == nil || !strings.Contains(err.Error(), "s3:ListBucket") {
			t.Errorf("before: got %v", err)
		}
		server.AllowReads(t, bucket)
		if got, _ := storetest.Read(t, s, "a"); got != "text" {
			t.Errorf("got %q", got)
		}
		if n, err := list(t, s); n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		if err := s.Delete(t.Context(), []string{"a"}); err == nil || !strings.Contains(err.Error(), "s3:DeleteObject") {
			t.Errorf("Delete: got %v", err)
		}
		if _, err := s.Put(t.Context(), "b", strings.NewReader("x"), 1, buildcache.PutOptions{}); err == nil || !strings.Contains(err.Error(), "s3:PutObject") {
			t.Errorf("Put: got %v", err)
		}
		if n, err := list(t, owner); n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func TestWrongURLs(t *testing.T) {
	for _, url := range []string{"", "bucket", "s3://", "s3:///a", "file:///a", "http://bucket/a", "s3://user:key@bucket/a"} {
		if _, err := s3.Open(t.Context(), url, s3.Options{}); err == nil {
			t.Errorf("Open(%q): no error", url)
		}
	}
}
