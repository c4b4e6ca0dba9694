package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/s3test"
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
