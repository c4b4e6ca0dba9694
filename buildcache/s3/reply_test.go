package s3

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPageIsAHandfulOfAllocations(t *testing.T) {
	r := replyOf(fullPage())
	n := testing.AllocsPerRun(10, func() {
		if _, err := decodePage(r); err != nil {
			t.Error(err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations for a page", n)
	}
}

// A page read with encoding/xml must not be one that the scanner has touched.
func TestScannerLeavesTheBodyAlone(t *testing.T) {
	body := `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a&amp;amp;&#34;b</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents><!-- --></ListBucketResult>`
	r := replyOf([]byte(body))
	for range 2 {
		p, err := decodePage(r)
		if err != nil || len(p.objects) != 1 || p.objects[0].Key != `a&amp;"b` || p.objects[0].ETag != "e" {
			t.Errorf("got %+v, %v", p, err)
		}
	}
	if got := r.body.String(); got != body {
		t.Errorf("the body is now %s", got)
	}
}

func TestPagesOutliveTheirReplies(t *testing.T) {
	say := func(c string) string {
		return strings.ReplaceAll(`<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>&amp;xxx</NextContinuationToken><EncodingType>url</EncodingType><Contents><Key>xx/%2Bxx</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>&quot;xxx&quot;</ETag><Size>1</Size></Contents><Contents><Key>xxx</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>xxx</ETag><Size>1</Size></Contents><CommonPrefixes><Prefix>xxx/</Prefix></CommonPrefixes></ListBucketResult>`, "xx", strings.Repeat(c, 2))
	}
	r := new(reply)
	var first *page
	for _, c := range []string{"a", "b"} {
		r.body.Reset()
		if err := r.read(strings.NewReader(say(c)), -1); err != nil {
			t.Fatal(err)
		}
		p, err := decodePage(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = p
		}
	}
	if got := fmt.Sprintf("%+v", first); !strings.Contains(got, "aa/+aa") || strings.Contains(got, "bb") {
		t.Errorf("the first page is now %s", got)
	}
}

func TestTimesAreReadAsByTimeParse(t *testing.T) {
	for _, text := range []string{
		"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123Z", "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05+02:00", "0000-01-01T00:00:00Z",
		"2026-01-02T3:04:05Z", "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05+99:00", // time.Parse takes what RFC 3339 does not
		"", "2026-02-30T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05", "2026-01-02T03:04:05z", "2026-01-02T03:04:05Z ", "2026-01-02T03:04:05.Z",
	} {
		want, wantErr := time.Parse(time.RFC3339, text)
		got, err := parseTime([]byte(text))
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v, %v", text, got, err, want, wantErr)
		}
	}
}

func TestNoRoomForAnnouncements(t *testing.T) {
	r := new(reply)
	for _, length := range []int64{-1, 0, 2, 1 << 60} {
		r.body.Reset()
		if err := r.read(strings.NewReader("text"), length); err != nil || r.body.String() != "text" || r.body.Cap() > 1<<20 {
			t.Errorf("%d bytes announced: got %q in %d, %v", length, r.body.String(), r.body.Cap(), err)
		}
	}
}

func TestHugeRepliesAreNotKept(t *testing.T) {
	r := newReply()
	r.body.Grow(100 << 20)
	r.done()
	for range cap(replies) + 1 {
		if newReply() == r {
			t.Error("100 MB are kept for the next reply")
		}
	}
}
