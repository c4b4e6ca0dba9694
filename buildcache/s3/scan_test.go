package s3

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pages are listings as servers word them.
func pagesOfServers(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(names) == 0 {
		t.Fatal("no pages", err)
	}
	pages := map[string][]byte{}
	for _, name := range names {
		if pages[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

func TestScannerTakesWhatServersWrite(t *testing.T) {
	for name, body := range pagesOfServers(t) {
		got, err := scan(body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want, err := parsePage(body); err != nil || !same(got, want) {
			t.Errorf("%s: got %+v, want %+v, %v", name, got, want, err)
		}
		if _, err := decodePage(replyOf(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScannerLeavesTheUnusual(t *testing.T) {
	for _, body := range []string{
		"", "<", "<ListBucketResult", "<ListBucketResult>", "<ListBucketResult/>", "<Error></Error>",
		"<ListBucketResult><!-- --></ListBucketResult>", "<ListBucketResult><Name><![CDATA[x]]></Name></ListBucketResult>",
		"<a:ListBucketResult></a:ListBucketResult>", "<ListBucketResult><Name a='b'></Name></ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key><Key>b</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>&#x1F980;</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>\xff</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>a<b></b></Key></Contents></ListBucketResult>",
		"<ListBucketResult></ListBucketResult><x>", "<ListBucketResult><Name></Prefix></ListBucketResult>",
	} {
		if got, err := scan([]byte(body)); !errors.Is(err, errUnusual) {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, body := range pagesOfServers(f) {
		f.Add(body[:min(len(body), 3000)])
		f.Add(body)
	}
	for _, body := range []string{
		"<ListBucketResult> <Name>a</Name>\n<Owner><ID>x</ID></Owner><Prefix/></ListBucketResult>\n",
		"<ListBucketResult xmlns=\"x\"><Contents><Key>a&amp;&#34;é</Key></Contents><CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes></ListBucketResult>",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := scan(body)
		if err != nil {
			return
		}
		want, err := parsePage(body)
		if err != nil {
			t.Fatalf("the scanner takes what encoding/xml does not: %v", err)
		}
		if !same(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

func same(a, b *rawPage) bool { return words(a) == words(b) }

// words are all fields but the one that holds some of them.
func words(r *rawPage) string {
	return fmt.Sprintf("%q %q %q %q %q %q", r.truncated, r.token, r.count, r.encoding, r.prefixes, r.contents)
}

func scan(body []byte) (*rawPage, error) {
	var raw rawPage
	err := raw.scan(body)
	return &raw, err
}

func replyOf(body []byte) *reply {
	r := new(reply)
	r.body.Write(body)
	return r
}

func fullPage() []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix><KeyCount>1000</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>`)
	for i := range 1000 {
		fmt.Fprintf(&b, `<Contents><Key>blobs/sha256/%02x/%064x</Key><LastModified>2026-01-16T12:30:15.000Z</LastModified><ETag>&quot;%032x&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`, i%256, i, i, i)
	}
	b.WriteString(`</ListBucketResult>`)
	return []byte(b.String())
}

func BenchmarkDecodePage(b *testing.B) {
	r := replyOf(fullPage())
	for name, read := range map[string]func() (*rawPage, error){
		"scanner":      func() (*rawPage, error) { return &r.raw, r.raw.scan(r.body.Bytes()) },
		"encoding/xml": func() (*rawPage, error) { return parsePage(r.body.Bytes()) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(r.body.Len()))
			for b.Loop() {
				raw, err := read()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := raw.check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
