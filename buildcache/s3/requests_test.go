package s3_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

func TestRequestsAreCountedByKind(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		storetest.Put(t, s, "a", "text")
		if err := s.Copy(t.Context(), "a", "b"); err != nil {
			t.Error(err)
		}
		reads := s.Requests().Writes()
		storetest.Read(t, s, "a")
		if _, err := s.Stat(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if n, err := list(t, s); n != 2 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		if got := s.Requests().Writes(); got != reads || got != 2 {
			t.Errorf("%d writes, %d after reading", reads, got)
		}
		if err := s.Delete(t.Context(), []string{"a", "b\x01"}); err != nil { // XML cannot hold the second
			t.Error(err)
		}
		p.Add(faultproxy.Rule{Match: faultproxy.IsGet, Times: 1, Fault: faultproxy.Fail(500, "InternalError")})
		storetest.Read(t, s, "b")
		if got, want := s.Requests().String(), "9 requests (1 LIST, 3 GET, 1 HEAD, 1 PUT, 1 COPY, 2 DELETE), "; !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
		if in, out := s.Requests().Bytes(); in < 500 || in > 5000 || out < 50 || out > 5000 {
			t.Errorf("%d bytes in, %d out", in, out)
		}
		if n := len(p.Requests()); n != s.Requests().Total() {
			t.Errorf("the proxy saw %d requests, counted %d", n, s.Requests().Total())
		}
	})
}

func TestRequestsSayNothingOfNothing(t *testing.T) {
	if got := new(s3.Requests).String(); got != "0 requests, 0 B in, 0 B out" {
		t.Errorf("got %s", got)
	}
}

func TestStoresShareACounter(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		opts := options(server)
		opts.Requests = new(s3.Requests)
		storetest.Put(t, open(t, "s3://"+bucket+"/a", opts), "a", "x")
		storetest.Put(t, open(t, "s3://"+bucket+"/b", opts), "a", "x")
		if got := opts.Requests.Of(s3.Put); got != 2 {
			t.Errorf("got %d", got)
		}
	})
}

// big is a body of many parts, different everywhere.
func big(size int) []byte {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(body)
	return body
}

// The answer of a server that refuses an object at once must not be lost because
// of what was still to be sent.
func TestRefusalOfABigObjectIsHeard(t *testing.T) {
	body := big(20 << 20)
	servers(t, func(t *testing.T, server *s3test.Server, bucket string) {
		s := open(t, "s3://"+bucket, options(server))
		for _, size := range []int{1, 256 << 10, 256<<10 + 1, len(body)} {
			put := func(cond buildcache.Condition) error {
				_, err := s.Put(t.Context(), fmt.Sprint(size), bytes.NewReader(body), int64(size), buildcache.PutOptions{Condition: cond})
				return err
			}
			if err := put(buildcache.Condition{IfNoneMatch: true}); err != nil {
				t.Fatal(err)
			}
			for _, cond := range []buildcache.Condition{{IfNoneMatch: true}, {IfMatch: "0123"}} {
				if err := put(cond); !errors.Is(err, buildcache.ErrChanged) {
					t.Errorf("%d bytes: got %v", size, err)
				}
			}
		}
	})
}

func TestBigObjectsGoInParts(t *testing.T) {
	body := big(65<<20 + 7)
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		put := func(cond buildcache.Condition) (string, error) {
			return s.Put(t.Context(), "big", bytes.NewReader(body), int64(len(body)), buildcache.PutOptions{Condition: cond})
		}
		p.Add(faultproxy.Rule{Match: faultproxy.IsPut, Times: 2, Fault: faultproxy.Fail(500, "InternalError")})
		etag, err := put(buildcache.Condition{IfNoneMatch: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Count(faultproxy.IsPut); n != 4 {
			t.Errorf("%d requests for 2 parts, two of them failing once", n)
		}
		r, o, err := s.Get(t.Context(), "big")
		if err != nil || o.ETag != etag {
			t.Fatalf("got %+v, %v; Put said %s", o, err, etag)
		}
		defer r.Close()
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil || [32]byte(h.Sum(nil)) != sha256.Sum256(body) {
			t.Errorf("other bytes, or %v", err)
		}
		if err := s.Copy(t.Context(), "big", "copy"); err != nil {
			t.Error(err)
		}

		part, _, err := s.GetRange(t.Context(), "big", 40<<20, 1000)
		if err != nil {
			t.Fatal(err)
		}
		defer part.Close()
		if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, body[40<<20:40<<20+1000]) {
			t.Errorf("range: got %d bytes, %v", len(got), err)
		}
		if _, _, err := s.GetRange(t.Context(), "big", int64(len(body))-5, 10); err == nil {
			t.Error("a range past the end is accepted")
		}

		if _, err := put(buildcache.Condition{IfNoneMatch: true}); !errors.Is(err, buildcache.ErrChanged) {
			t.Errorf("there already: got %v", err)
		}
		if _, err := put(buildcache.Condition{IfMatch: "0123"}); !errors.Is(err, buildcache.ErrChanged) {
			t.Errorf("changed: got %v", err)
		}
		p.Reset()
		p.Add(faultproxy.Rule{Match: faultproxy.IsPut, Skip: 1, Fault: faultproxy.Fail(403, "AccessDenied")})
		if _, err := put(buildcache.Condition{IfMatch: etag}); err == nil || !strings.Contains(err.Error(), "s3:PutObject") {
			t.Errorf("got %v", err)
		}
		if n := server.Uploads(t, strings.Split(s.String(), "/")[2], "cache/big"); n != 0 {
			t.Errorf("%d unfinished uploads are left", n)
		}
	})
}
