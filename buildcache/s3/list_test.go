package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

// A listing takes the memory of a page, not of all of them.
func TestPagesAreForgotten(t *testing.T) {
	const pages, keys = 40, 1000
	served := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>%v</IsTruncated><KeyCount>%d</KeyCount><EncodingType>url</EncodingType>`, served < pages, keys)
		if served < pages {
			fmt.Fprintf(w, `<NextContinuationToken>%d</NextContinuationToken>`, served)
		}
		for i := range keys {
			fmt.Fprintf(w, `<Contents><Key>cache/%06d-%04d%s</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>"x"</ETag><Size>1</Size></Contents>`, served, i, strings.Repeat("k", 800))
		}
		_, _ = io.WriteString(w, `</ListBucketResult>`)
	}))
	t.Cleanup(server.Close)
	s := open(t, "s3://bucket/cache", options(&s3test.Server{Endpoint: server.URL, AccessKey: "id", SecretKey: "secret"}))
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	n := 0
	var early, late uint64
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		switch n++; n {
		case 5 * keys:
			early = live()
		case (pages - 1) * keys:
			late = live()
		}
	}
	if n != pages*keys {
		t.Fatalf("%d objects, want %d", n, pages*keys)
	}
	if late > early+10<<20 {
		t.Errorf("%d pages of 1 MB later %d MB more are in use", pages-6, (late-early)>>20)
	}
}

// manyPages answers each listing with pages of its own prefix.
func manyPages(t *testing.T, pages, keys int) *s3test.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		prefix := r.URL.Query().Get("prefix")
		n, _ := strconv.Atoi(r.URL.Query().Get("continuation-token"))
		fmt.Fprintf(w, `<ListBucketResult><IsTruncated>%v</IsTruncated><KeyCount>%d</KeyCount><EncodingType>url</EncodingType>`, n+1 < pages, keys)
		if n+1 < pages {
			fmt.Fprintf(w, `<NextContinuationToken>%d</NextContinuationToken>`, n+1)
		}
		for i := range keys {
			fmt.Fprintf(w, `<Contents><Key>%s%d+%d</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>&#34;%s%d-%d&#34;</ETag><Size>%d</Size></Contents>`, prefix, n, i, prefix, n, i, i)
		}
		_, _ = io.WriteString(w, `</ListBucketResult>`)
	}))
	t.Cleanup(server.Close)
	return &s3test.Server{Endpoint: server.URL, AccessKey: "id", SecretKey: "secret"}
}

// What a listing has yielded stays as it is while others read their pages.
func TestListingsDoNotShareMemory(t *testing.T) {
	const pages, keys = 6, 100
	s := open(t, "s3://bucket/cache", options(manyPages(t, pages, keys)))
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			prefix := strings.Repeat(string(rune('a'+i)), i+1)
			var all []buildcache.Object
			for o, err := range s.List(t.Context(), prefix) {
				if err != nil {
					t.Error(err)
				}
				all = append(all, o)
			}
			if len(all) != pages*keys {
				t.Errorf("%s: %d objects", prefix, len(all))
			}
			for j, o := range all {
				page, n := j/keys, j%keys
				if key, etag := fmt.Sprintf("%s%d %d", prefix, page, n), fmt.Sprintf("cache/%s%d-%d", prefix, page, n); o.Key != key || o.ETag != etag || o.Size != int64(n) {
					t.Errorf("got %+v, want %s", o, key)
					return
				}
			}
		})
	}
	group.Wait()
}

// Garbage is collected often in programs that hold little.
func TestPagesAreLittleGarbage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	for name, page := range listings() {
		opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1", AccessKey: "id", SecretKey: "secret"})
		opts.HTTPClient = replay(page)
		s := open(t, "s3://bucket/cache", opts)
		const pages = 50
		var before, after runtime.MemStats
		for range 2 { // the first round makes room
			runtime.ReadMemStats(&before)
			for range pages {
				if n, err := list(t, s); n != 1000 || err != nil {
					t.Fatal(n, err)
				}
			}
			runtime.ReadMemStats(&after)
		}
		if got := (after.TotalAlloc - before.TotalAlloc) / pages; got > 300_000 {
			t.Errorf("%s: %d bytes of garbage for a page", name, got)
		}
	}
}
