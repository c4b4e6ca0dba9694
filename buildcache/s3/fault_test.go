package s3_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

// proxied returns a store that is reached through a proxy.
func proxied(t *testing.T, server *s3test.Server) (*s3.Store, *faultproxy.Proxy) {
	t.Helper()
	p := faultproxy.New(t, server.Endpoint)
	opts := options(server)
	opts.Endpoint = p.URL
	return open(t, "s3://"+server.NewBucket(t)+"/cache", opts), p
}

func list(t *testing.T, s *s3.Store) (n int, err error) {
	t.Helper()
	for _, e := range s.List(t.Context(), "") {
		if err != nil {
			t.Error("List goes on after an error")
		}
		if err = e; e == nil {
			n++
		}
	}
	return n, err
}

func TestPassingFaultsAreWaitedOut(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		for name, fault := range map[string]faultproxy.Fault{
			"InternalError": faultproxy.Fail(500, "InternalError"),
			"SlowDown":      faultproxy.Fail(503, "SlowDown"),
			"TooMany":       faultproxy.Fail(429, "TooManyRequests"),
			"BadGateway":    faultproxy.Fail(502, ""),
			"Break":         faultproxy.Break,
			"LostReply":     faultproxy.LoseReply,
		} {
			if strings.HasPrefix(server.Name, "minio") && name != "LostReply" {
				continue // it would not know of the fault
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, p := proxied(t, server)
				each := func(match func(faultproxy.Request) bool) {
					p.Reset()
					p.Add(faultproxy.Rule{Match: match, Times: 1, Fault: fault})
				}
				each(faultproxy.IsPut)
				storetest.Put(t, s, "a", "text")
				each(nil)
				if err := s.Copy(t.Context(), "a", "b"); err != nil {
					t.Error(err)
				}
				each(faultproxy.IsGet)
				if got, _ := storetest.Read(t, s, "b"); got != "text" {
					t.Errorf("got %q", got)
				}
				each(faultproxy.IsList)
				if n, err := list(t, s); n != 2 || err != nil {
					t.Errorf("got %d, %v", n, err)
				}
				each(faultproxy.IsBatchDelete)
				if err := s.Delete(t.Context(), []string{"a", "b"}); err != nil {
					t.Error(err)
				}
				if n := p.Count(faultproxy.IsBatchDelete); n != 2 {
					t.Errorf("%d requests to delete", n)
				}
				if n, err := list(t, s); n != 0 || err != nil {
					t.Errorf("got %d, %v", n, err)
				}
			})
		}
	})
}

func TestLastingFaultsEndInOneSentence(t *testing.T) {
	t.Parallel()
	server := s3test.Versitygw(t)
	for _, tt := range []struct {
		status   int
		code     string
		want     string
		requests int
	}{
		{503, "SlowDown", "the server answers 503, Said the proxy, 4 times (SlowDown, request PROXY)", 4},
		{403, "AccessDenied", "access denied: the credentials of TEST_ACCESS_KEY_ID need s3:ListBucket; the server answers Said the proxy (AccessDenied, request PROXY)", 1},
		{501, "NotImplemented", "the server answers 501, Said the proxy (NotImplemented, request PROXY)", 1},
		{403, "RequestTimeTooSkewed", "the clock of this machine", -1},
		{403, "InvalidAccessKeyId", "does not know the access key", 1},
		{403, "SignatureDoesNotMatch", "the secret key does not belong", 1},
		{400, "ExpiredToken", "have expired", 1},
		{400, "AuthorizationHeaderMalformed", "set the region", 1},
		{404, "NoSuchBucket", "there is no bucket", 1},
	} {
		s, p := proxied(t, server)
		p.Add(faultproxy.Rule{Fault: faultproxy.Fail(tt.status, tt.code)})
		_, err := list(t, s)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "operation error") {
			t.Errorf("got %v, want … %s", err, tt.want)
		}
		if n := len(p.Requests()); n != tt.requests && tt.requests > 0 {
			t.Errorf("%s: %d requests, want %d", tt.code, n, tt.requests)
		}
	}
}

func TestListingsThatBreakOffAreErrors(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		storetest.PutMany(t, s, "r/%04d", 1200)
		replace := func(old, by string) faultproxy.Fault {
			return faultproxy.Rewrite(func(body []byte) []byte {
				if !strings.Contains(string(body), old) {
					t.Errorf("no %q in %.300q", old, body)
				}
				return []byte(strings.ReplaceAll(string(body), old, by))
			})
		}
		for name, fault := range map[string]faultproxy.Fault{
			"no body":      faultproxy.Answer(""),
			"other XML":    faultproxy.Answer("<html></html>"),
			"no page":      faultproxy.Answer("<ListBucketResult></ListBucketResult>"),
			"cut":          faultproxy.CutBody(5000),
			"shortened":    faultproxy.ShortenBody(5000),
			"cut at once":  faultproxy.CutBody(0),
			"no token":     replace("NextContinuationToken", "Other"),
			"not the last": replace("<IsTruncated>true", "<IsTruncated>false"),
			"fewer keys":   replace("<KeyCount>1000", "<KeyCount>1001"),
			"other keys":   replace("<Key>cache", "<Key>catch"),
		} {
			for _, skip := range []int{0, 1} {
				if skip == 1 && (name == "no token" || name == "not the last" || name == "fewer keys") {
					continue // the second page is the last one
				}
				p.Reset()
				times := 0 // always
				if name == "not the last" {
					times = 1
				}
				p.Add(faultproxy.Rule{Match: faultproxy.IsList, Skip: skip, Times: times, Fault: fault})
				n, err := list(t, s)
				if name == "not the last" { // its token is followed all the same
					if err != nil || n != 1200 {
						t.Errorf("%s: got %d, %v", name, n, err)
					}
					continue
				}
				if err == nil || n == 1200 {
					t.Errorf("%s, page %d: %d keys and no error", name, skip, n)
				}
				p.Reset()
				p.Add(faultproxy.Rule{Match: faultproxy.IsList, Skip: skip, Times: 2, Fault: fault})
				if n, err := list(t, s); err != nil || n != 1200 {
					t.Errorf("%s, page %d, for a while: got %d, %v", name, skip, n, err)
				}
			}
		}
	})
}

func TestListingInCirclesIsAnError(t *testing.T) {
	s := canned(t, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>`)
	if _, err := list(t, s); err == nil || !strings.Contains(err.Error(), "circles") {
		t.Errorf("got %v", err)
	}
}

func TestBodiesAreReadToTheirEnd(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		text := strings.Repeat("0123456789", 100_000)
		storetest.Put(t, s, "a", text)

		p.Add(faultproxy.Rule{Match: faultproxy.IsGet, Times: 6, Fault: faultproxy.CutBody(100_000)})
		if got, _ := storetest.Read(t, s, "a"); got != text {
			t.Errorf("got %d bytes, or others", len(got))
		}
		if n := p.Count(faultproxy.IsGet); n != 7 {
			t.Errorf("%d requests", n)
		}

		p.Reset()
		p.Add(faultproxy.Rule{Match: faultproxy.IsGet, Times: 1, Fault: faultproxy.CutBody(100_000)})
		p.Add(faultproxy.Rule{Match: faultproxy.IsGet, Times: 1, Fault: faultproxy.Around(func() { storetest.Put(t, s, "a", strings.Repeat("x", len(text))) }, nil)})
		if err := drain(t, s, "a"); !errors.Is(err, buildcache.ErrChanged) {
			t.Errorf("another object meanwhile: got %v", err)
		}

		p.Reset()
		p.Add(faultproxy.Rule{Match: faultproxy.IsGet, Fault: faultproxy.CutBody(0)})
		if err := drain(t, s, "a"); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("always cut: got %v", err)
		}
	})
}

func drain(t *testing.T, s *s3.Store, key string) error {
	t.Helper()
	r, _, err := s.Get(t.Context(), key)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

func TestErrorsOfSingleKeys(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		keys := storetest.PutMany(t, s, "d/%04d", 20)
		p.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Times: 1, Fault: faultproxy.KeyError("cache/d/0007", "AccessDenied")})
		var failed *buildcache.DeleteError
		err := s.Delete(t.Context(), keys)
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Key != "d/0007" || !strings.Contains(err.Error(), "s3:DeleteObject") {
			t.Errorf("got %v", err)
		}

		for _, code := range []string{"InternalError", "SlowDown"} {
			p.Reset()
			p.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Times: 2, Fault: faultproxy.KeyError("cache/d/0007", code)})
			if err := s.Delete(t.Context(), keys); err != nil || len(p.Requests()) != 3 {
				t.Errorf("%s for a while: got %v after %d requests", code, err, len(p.Requests()))
			}
			p.Reset()
			p.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Fault: faultproxy.KeyError("cache/d/0007", code)})
			if err := s.Delete(t.Context(), keys); !errors.As(err, &failed) || len(failed.Failed) != 1 || len(p.Requests()) != 4 {
				t.Errorf("%s for ever: got %v after %d requests", code, err, len(p.Requests()))
			}
		}
	})
}

func TestDeletesThatAreNotConfirmedAreErrors(t *testing.T) {
	for name, reply := range map[string]string{
		"nothing": "", "cut": "<DeleteResult>", "other": "<html/>",
		"cut behind a key": `<?xml version="1.0"?><DeleteResult><Deleted><Key>cache/a</Key></Deleted>`,
		"another root":     "<x><DeleteResult><Deleted><Key>cache/a</Key></Deleted></DeleteResult></x>",
		"another key":      "<DeleteResult><Error><Key>cache/other</Key><Code>X</Code></Error></DeleteResult>",
	} {
		err := canned(t, reply).Delete(t.Context(), []string{"a", "b"})
		var failed *buildcache.DeleteError
		if !errors.As(err, &failed) || len(failed.Failed) != 2 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, reply := range map[string]string{"copy nothing": "", "copy cut": "<CopyObjectResult>", "copy other": "<CopyObjectResult/>"} {
		if err := canned(t, reply).Copy(t.Context(), "a", "b"); err == nil {
			t.Errorf("%s: is success", name)
		}
	}
}

func TestNoPermissionToDelete(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		keys := storetest.PutMany(t, s, "d/%05d", 100)
		for i := range 9900 {
			keys = append(keys, fmt.Sprintf("e/%05d", i))
		}
		p.Reset()
		p.Add(faultproxy.Rule{Match: faultproxy.IsBatchDelete, Fault: faultproxy.Fail(403, "AccessDenied")})
		err := s.Delete(t.Context(), keys)
		var failed *buildcache.DeleteError
		if !errors.As(err, &failed) || len(failed.Failed) != len(keys) {
			t.Fatalf("got %v", err)
		}
		for _, f := range failed.Failed {
			if !strings.Contains(f.Err.Error(), "access denied: the credentials of TEST_ACCESS_KEY_ID need s3:DeleteObject; the server answers Said the proxy (AccessDenied, request PROXY)") {
				t.Fatalf("%s: got %v", f.Key, f.Err)
			}
		}
		if n := len(p.Requests()); n > 4 {
			t.Errorf("%d requests, want no more than are under way at a time", n)
		}
		if n, err := list(t, s); n != 100 || err != nil {
			t.Errorf("left: %d, %v", n, err)
		}
	})
}

func TestLostReplyToAConditionalPut(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		p.Add(faultproxy.Rule{Match: faultproxy.IsPut, Times: 1, Fault: faultproxy.LoseReply})
		_, err := s.Put(t.Context(), "lease", strings.NewReader("me"), 2, buildcache.PutOptions{Condition: buildcache.Condition{IfNoneMatch: true}})
		if !errors.Is(err, buildcache.ErrChanged) {
			t.Errorf("got %v", err)
		}
		if got, _ := storetest.Read(t, s, "lease"); got != "me" {
			t.Errorf("got %q", got)
		}
	})
}

func TestConflictsAreChanges(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		p.Add(faultproxy.Rule{Fault: faultproxy.Fail(409, "ConditionalRequestConflict")})
		_, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, buildcache.PutOptions{Condition: buildcache.Condition{IfMatch: "e"}})
		if !errors.Is(err, buildcache.ErrChanged) || len(p.Requests()) != 1 {
			t.Errorf("got %v after %d requests", err, len(p.Requests()))
		}
	})
}

func TestShardsMissNothing(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		s, p := proxied(t, server)
		var want []string
		for i := range 16 {
			want = append(want, storetest.PutMany(t, s, fmt.Sprintf("blobs/sha256/%x", i)+"0/%04d", 70)...)
		}
		for _, key := range []string{"blobs/README", "blobs/sha256/loose", "blobs/sha256/0loose", "blobs/sha512/x", "index", "v3/layout.json", "v3/manifests/spec/a/1", "build_cache/x", "blobs-2/y"} {
			storetest.Put(t, s, key, "x")
			want = append(want, key)
		}
		slices.Sort(want)
		var shards []string
		for c := range strings.SplitSeq("0123456789abcde", "") { // one is missing
			shards = append(shards, "blobs/sha256/"+c)
		}
		shards = append(shards, "v3/manifests/", "nothing/here/")
		guess := func([]buildcache.Object) []string { return shards }
		p.Reset()
		var got []string
		for o, err := range s.ListShards(t.Context(), "", guess) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.Key)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("got %d keys, want %d", len(got), len(want))
		}
		n := len(p.Requests())
		for _, prefix := range []string{"blobs/", "v", "blobs/sha256/0"} {
			got, want := []string{}, slices.DeleteFunc(slices.Clone(want), func(key string) bool { return !strings.HasPrefix(key, prefix) })
			for _, some := range [][]string{nil, slices.DeleteFunc(slices.Clone(shards), func(shard string) bool { return !strings.HasPrefix(shard, prefix) || shard == prefix })} {
				got = got[:0]
				for o, err := range s.ListShards(t.Context(), prefix, func([]buildcache.Object) []string { return some }) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, o.Key)
				}
				if slices.Sort(got); !slices.Equal(got, want) {
					t.Errorf("below %s in %d shards: got %d keys, want %d", prefix, len(some), len(got), len(want))
				}
			}
		}

		for range s.ListShards(t.Context(), "", guess) {
			break
		}
		for skip := 0; skip < n; skip += 4 {
			p.Reset()
			p.Add(faultproxy.Rule{Skip: skip, Fault: faultproxy.Fail(403, "AccessDenied")})
			var err error
			for _, e := range s.ListShards(t.Context(), "", guess) {
				if err != nil {
					t.Error("goes on after an error")
				}
				err = e
			}
			if err == nil || !strings.Contains(err.Error(), "access denied") {
				t.Errorf("request %d fails: got %v", skip, err)
			}
		}
	})
}
