package s3_test

import (
	"os"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

var (
	_ buildcache.Store  = (*s3.Store)(nil)
	_ buildcache.Writer = (*s3.Store)(nil)
)

// TestMain keeps the user's own configuration out.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_REGION": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// options reach a server, and do not wait long.
func options(server *s3test.Server) s3.Options {
	return s3.Options{
		Endpoint:    server.Endpoint,
		Region:      "us-east-1",
		PathStyle:   true,
		Credentials: s3.Keys(server.AccessKey, server.SecretKey, ""),
		KeysFrom:    "TEST_ACCESS_KEY_ID",
		MaxAttempts: 4,
		MaxBackoff:  10 * time.Millisecond,
	}
}

func open(t testing.TB, url string, opts s3.Options) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// servers runs a test with each server and an empty bucket.
func servers(t *testing.T, test func(t *testing.T, server *s3test.Server, bucket string)) {
	t.Helper()
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *s3test.Server{"minio": s3test.MinIO, "versitygw": s3test.Versitygw} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			test(t, server, server.NewBucket(t))
		})
	}
}

func TestStore(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		storetest.Run(t, func(t *testing.T) storetest.Store {
			bucket := server.NewBucket(t)
			storetest.Put(t, open(t, "s3://"+bucket, options(server)), "other/object", "x")
			return open(t, "s3://"+bucket+"/a cache/", options(server))
		})
	})
}
