package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/faultproxy"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test/storetest"
)

// stubbed opens a store on a server with quirks. change may be nil.
func stubbed(t *testing.T, quirks s3test.Quirks, change func(*s3.Options)) (*s3.Store, *s3test.Stub) {
	t.Helper()
	stub := s3test.NewStub(t, quirks)
	opts := options(&s3test.Server{Endpoint: stub.URL, AccessKey: "id", SecretKey: "secret"})
	if change != nil {
		change(&opts)
	}
	return open(t, "s3://bucket/cache", opts), stub
}

// What a build cache needs of its store works with each quirk alone and with all of them.
func TestStoresOfPeople(t *testing.T) {
	all := s3test.Quirks{WantsMD5: true, BatchLimit: 100, GoogleSignature: true, LastToken: true, WeakETags: true, NoMilliseconds: true, PageSize: 7}
	for name, quirks := range map[string]s3test.Quirks{
		"none":                      {},
		"Content-MD5":               {WantsMD5: true},
		"no batch delete":           {NoBatches: true},
		"100 keys a batch":          {BatchLimit: 100},
		"Google's signature":        {GoogleSignature: true},
		"a token on the last page":  {LastToken: true},
		"weak ETags":                {WeakETags: true},
		"no milliseconds":           {NoMilliseconds: true},
		"all":                       all,
		"small pages, last of them": {PageSize: 1, LastToken: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, stub := stubbed(t, quirks, nil)
			for _, marker := range []string{"cache/", "cache/v3/", "cache/v3/manifests/"} {
				stub.Set(marker, "") // as consoles make folders
			}
			stub.Set("cachet", "of another mirror")
			var keys []string
			for i := range 250 {
				keys = append(keys, fmt.Sprintf("v3/a/%03d+ü", i))
				stub.Set("cache/"+keys[i], "x")
			}
			etag := storetest.Put(t, s, "v3/b", "text")
			if n, err := list(t, s); n != 253 || err != nil {
				t.Fatalf("got %d objects, %v", n, err)
			}
			body, o, err := s.Get(t.Context(), "v3/b")
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if text, err := io.ReadAll(body); string(text) != "text" || err != nil || o.ETag != etag {
				t.Errorf("got %q, %v, ETag %s, want %s", text, err, o.ETag, etag)
			}
			for at, err := range s.List(t.Context(), "v3/b") {
				if err != nil || at.ETag != etag || at.ModTime.IsZero() {
					t.Errorf("got %+v, %v, want the ETag %s", at, err, etag)
				}
			}
			if _, err := s.Put(t.Context(), "v3/b", strings.NewReader("new"), 3, buildcache.PutOptions{Condition: buildcache.Condition{IfMatch: o.ETag}}); err != nil {
				t.Error(err)
			}
			for range 2 { // the second time it knows what the server refuses
				if err := s.Delete(t.Context(), keys); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := list(t, s); n != 3 || err != nil || !stub.Has("cachet") || !stub.Has("cache/") {
				t.Errorf("got %d objects, %v", n, err)
			}
		})
	}
}

func TestConditionsThatAServerRefusesAreUnsupported(t *testing.T) {
	for _, status := range []int{400, 501} {
		s, _ := stubbed(t, s3test.Quirks{NoConditions: status}, nil)
		for _, c := range []buildcache.Condition{{IfNoneMatch: true}, {IfMatch: "abc"}} {
			_, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, buildcache.PutOptions{Condition: c})
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "not") {
				t.Errorf("%d: got %v", status, err)
			}
		}
		storetest.Put(t, s, "a", "x")
	}
}

func TestVersionsThatDoNotEndAreAnError(t *testing.T) {
	n := 0
	s, _ := stubbed(t, s3test.Quirks{Instead: func(w http.ResponseWriter, _ *http.Request) {
		if n++; n > 2000 { // more than it should ask for
			fmt.Fprint(w, "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>")
			return
		}
		fmt.Fprintf(w, "<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>%d</NextKeyMarker></ListVersionsResult>", n)
	}}, nil)
	var last error
	for _, last = range s.Versions(t.Context(), "") {
	}
	if last == nil || !strings.Contains(last.Error(), "does not come to an end") {
		t.Errorf("got %v after %d pages", last, n)
	}
}

// Batches that are refused side by side are all sent again in the way that the server wants.
func TestBatchesThatAreRefusedTogether(t *testing.T) {
	for _, quirks := range []s3test.Quirks{{WantsMD5: true}, {NoBatches: true}, {BatchLimit: 100}} {
		for range 10 {
			s, stub := stubbed(t, quirks, nil)
			var keys []string
			for i := range 3500 {
				keys = append(keys, fmt.Sprintf("%d", i))
			}
			stub.Set("cache/3499", "x")
			if err := s.Delete(t.Context(), keys); err != nil || stub.Has("cache/3499") {
				t.Errorf("%+v: got %v", quirks, err)
			}
		}
	}
}

// A bucket with a default retention takes nothing without Content-MD5, also under a condition and in
// parts.
func TestABucketThatWantsContentMD5(t *testing.T) {
	servers(t, func(t *testing.T, server *s3test.Server, _ string) {
		for _, size := range []int{10, 1 << 20} {
			s, p := proxied(t, server)
			p.Add(faultproxy.Rule{
				Match: func(r faultproxy.Request) bool {
					return r.Method == http.MethodPut && r.Header.Get("Content-MD5") == ""
				},
				Fault: faultproxy.Fail(http.StatusBadRequest, "ContentMD5Required"),
			})
			text := strings.Repeat("x", size)
			for _, condition := range []buildcache.Condition{{}, {IfNoneMatch: true}} {
				key := fmt.Sprint("if-none-match-", condition.IfNoneMatch)
				if _, err := s.Put(t.Context(), key, strings.NewReader(text), int64(size), buildcache.PutOptions{Condition: condition}); err != nil {
					t.Errorf("%d bytes, %s: %v", size, key, err)
				} else if got, _ := storetest.Read(t, s, key); got != text {
					t.Errorf("%d bytes, %s: got %d", size, key, len(got))
				}
			}
		}
	})
}

// What is gone is deleted, however a server calls it: the reply to an earlier request may be lost.
func TestWhatIsGoneIsDeleted(t *testing.T) {
	for _, quirks := range []s3test.Quirks{{}, {NoBatches: true}, {NoBatches: true, DeletesOnce: true}} {
		s, stub := stubbed(t, quirks, nil)
		stub.Set("cache/b", "x")
		if err := s.Delete(t.Context(), []string{"a", "b", "c"}); err != nil || stub.Has("cache/b") {
			t.Errorf("%+v: got %v", quirks, err)
		}
	}
}

func TestSessionTokensAndPublicBuckets(t *testing.T) {
	s, _ := stubbed(t, s3test.Quirks{WantsToken: "session"}, func(o *s3.Options) { o.Credentials = s3.Keys("id", "secret", "session") })
	storetest.Put(t, s, "a", "x")
	s, _ = stubbed(t, s3test.Quirks{WantsToken: "session"}, nil)
	if _, err := list(t, s); err == nil || !strings.Contains(err.Error(), "session token") {
		t.Errorf("without the token: got %v", err)
	}
	s, stub := stubbed(t, s3test.Quirks{AnonymousOnly: true}, func(o *s3.Options) { o.Anonymous = true })
	stub.Set("cache/a", "x")
	if n, err := list(t, s); n != 1 || err != nil {
		t.Errorf("a public bucket: got %d, %v", n, err)
	}
	s, _ = stubbed(t, s3test.Quirks{AnonymousOnly: true}, nil)
	if _, err := list(t, s); err == nil || !strings.Contains(err.Error(), "anonymous: true") {
		t.Errorf("a public bucket with keys: got %v", err)
	}
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	yes := func(string) bool { return true }
	s, stub := stubbed(t, s3test.Quirks{Archived: yes}, nil)
	stub.Set("cache/a", "x")
	if _, _, err := s.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "archived") || !strings.Contains(err.Error(), "storage class") {
		t.Errorf("archived: got %v", err)
	}
	for _, noBatches := range []bool{false, true} {
		s, stub = stubbed(t, s3test.Quirks{NoBatches: noBatches, Locked: func(key string) bool { return key == "cache/b" }}, nil)
		for _, key := range []string{"a", "b", "c"} {
			stub.Set("cache/"+key, "x")
		}
		err := s.Delete(t.Context(), []string{"a", "b", "c"})
		var failed *buildcache.DeleteError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || !strings.Contains(err.Error(), "WORM") {
			t.Errorf("locked: got %v", err)
		}
		if stub.Has("cache/a") || !stub.Has("cache/b") || stub.Has("cache/c") {
			t.Error("locked: not exactly the object that is locked stays")
		}
	}
	s, _ = stubbed(t, s3test.Quirks{Instead: func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!DOCTYPE html>\n<title>Log\x1b[31m in</title>")
	}}, nil)
	_, err := list(t, s)
	if err == nil || !strings.Contains(err.Error(), "DOCTYPE html") || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("a web page: got %v", err)
	}
}

func TestWhatDoesNotEndIsAnError(t *testing.T) {
	n := 0
	for name, instead := range map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, fmt.Sprintf("/bucket/%d", n), http.StatusTemporaryRedirect)
		},
		"empty pages": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken></ListBucketResult>", n)
		},
		"a page that is too long": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<ListBucketResult>"+strings.Repeat(" ", 40<<20))
		},
		"silence": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "<ListBucketResult>")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, stub := stubbed(t, s3test.Quirks{Instead: func(w http.ResponseWriter, r *http.Request) { n++; instead(w, r) }},
				func(o *s3.Options) { o.Idle, o.MaxAttempts = 50*time.Millisecond, 2 })
			_, err := list(t, s)
			if err == nil {
				t.Fatal("it came to an end")
			}
			t.Log(err)
			if n := stub.Count(""); n > 1100 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A reader that takes its time is not the server's fault, and one that gets nothing goes on where
// it was.
func TestSilentBodiesAreTakenUpAgain(t *testing.T) {
	var at int
	s, _ := stubbed(t, s3test.Quirks{Instead: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", fmt.Sprint(4-at))
		if at > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-3/4", at))
			w.WriteHeader(http.StatusPartialContent)
		}
		fmt.Fprint(w, "text"[at:at+1])
		if at++; at < 4 {
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}}, func(o *s3.Options) { o.Idle = 30 * time.Millisecond })
	body, _, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	time.Sleep(60 * time.Millisecond)
	if text, err := io.ReadAll(body); string(text) != "text" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

// The session token is S3's own header: Go does not know that it is a secret.
func TestRedirectsElsewhereTakeNoToken(t *testing.T) {
	var got []string
	other := s3test.NewStub(t, s3test.Quirks{Instead: func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Amz-Security-Token")+r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
	}})
	s, _ := stubbed(t, s3test.Quirks{Instead: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}}, func(o *s3.Options) { o.Credentials = s3.Keys("id", "secret", "session") })
	if _, err := list(t, s); err == nil {
		t.Error("it is listed")
	}
	if len(got) == 0 || strings.Join(got, "") != "" {
		t.Errorf("the other server got %q", got)
	}
}
