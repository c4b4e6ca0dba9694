package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/buildcache/s3"
	"github.com/openbraininstitute/spacktainers/internal/testing/s3test"
)

// listings are pages of 1000 blobs as two servers word them.
func listings() map[string][]byte {
	pages := map[string][]byte{}
	for name, entry := range map[string]string{
		"minio": `<Contents><Key>cache/blobs/sha256/%02x/%064x</Key><LastModified>2026-01-16T12:30:15.123Z</LastModified><ETag>&#34;%032x&#34;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`,
		"aws":   `<Contents><Key>cache/blobs/sha256/%02x/%064x</Key><LastModified>2026-01-16T12:30:15.000Z</LastModified><ETag>&quot;%032x&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`,
	} {
		var b strings.Builder
		b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>cache/</Prefix><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>`)
		for i := range 1000 {
			fmt.Fprintf(&b, entry, i%256, i, i, i)
		}
		b.WriteString(`</ListBucketResult>`)
		pages[name] = []byte(b.String())
	}
	return pages
}

// replay is an HTTP client without a network: what is measured with it is the
// client's own work.
type replay []byte

func (r replay) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{},
		ContentLength: int64(len(r)), Body: io.NopCloser(bytes.NewReader(r)),
	}, nil
}

// A page of a listing, from the request to the last of its objects.
func BenchmarkList(b *testing.B) {
	for name, page := range listings() {
		b.Run(name+"/replay", func(b *testing.B) {
			opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1", AccessKey: "id", SecretKey: "secret"})
			opts.HTTPClient = replay(page)
			benchmarkList(b, opts)
		})
		b.Run(name+"/http", func(b *testing.B) {
			server := answering(b, page)
			benchmarkList(b, options(server))
		})
	}
}

// answering is a server that answers everything alike.
func answering(b *testing.B, body []byte) *s3test.Server {
	b.Helper()
	length := strconv.Itoa(len(body))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(body)
	}))
	b.Cleanup(server.Close)
	return &s3test.Server{Endpoint: server.URL, AccessKey: "id", SecretKey: "secret"}
}

func benchmarkList(b *testing.B, opts s3.Options) {
	b.Helper()
	s := open(b, "s3://bucket/cache", opts)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range s.List(b.Context(), "") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}

// A full batch of deletes that all succeed.
func BenchmarkDelete(b *testing.B) {
	reply := []byte(`<?xml version="1.0" encoding="UTF-8"?><DeleteResult/>`)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("blobs/sha256/%02x/%064x", i%256, i)
	}
	for name, opts := range map[string]s3.Options{
		"replay": func() s3.Options {
			opts := options(&s3test.Server{Endpoint: "http://127.0.0.1:1", AccessKey: "id", SecretKey: "secret"})
			opts.HTTPClient = replay(reply)
			return opts
		}(),
		"http": options(answering(b, reply)),
	} {
		b.Run(name, func(b *testing.B) {
			s := open(b, "s3://bucket/cache", opts)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Delete(b.Context(), keys); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A big object from a server next door, for readers that take much or little at
// a time: a decompressor takes 4 kB.
func BenchmarkGet(b *testing.B) {
	const size = 190 << 20
	server := answering(b, make([]byte, size))
	s := open(b, "s3://bucket/cache", options(server))
	for _, kib := range []int{4, 32, 256} {
		b.Run(fmt.Sprintf("%dKiB", kib), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			buf := make([]byte, kib<<10)
			for b.Loop() {
				r, _, err := s.Get(b.Context(), "a")
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for err == nil {
					var m int
					m, err = r.Read(buf)
					n += m
				}
				if n != size || err != io.EOF {
					b.Fatal(n, err)
				}
				r.Close()
			}
		})
	}
}
