package s3

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A page is one reply to ListObjectsV2.
type page struct {
	objects  []buildcache.Object // whole keys, ETags without quotes
	prefixes []string            // what a delimiter has cut off
	token    string              // "" at the end
}

// A cutError is a reply that is less than it should be, or none of S3 at all. A retry may help.
type cutError struct {
	what string
	err  error // or nil
}

func (e *cutError) Error() string {
	if e.err != nil {
		return e.what + ": " + e.err.Error()
	}
	return e.what
}

// RetryableError tells the SDK.
func (e *cutError) RetryableError() bool { return true }

// Unwrap returns the cause, if there is one.
func (e *cutError) Unwrap() error { return e.err }

func cutf(format string, args ...any) error {
	return &cutError{what: fmt.Sprintf(format, args...)}
}

// A rawPage is a page as its XML says it.
type rawPage struct {
	truncated []byte // true or false
	token     []byte
	count     []byte // KeyCount; some servers leave it out
	encoding  []byte // url, or nothing
	contents  []rawObject
	prefixes  [][]byte
	plain     []byte // holds some of the above
}

type rawObject struct{ key, modified, etag, size []byte }

// decodePage reads a page: fast if it looks as servers write it, else with
// encoding/xml. A page without its end is a cutError.
func decodePage(r *reply) (*page, error) {
	if body := r.body.Bytes(); len(body) > 0 && !bytes.Contains(body, []byte("ListBucketResult")) {
		return nil, cutf("the server answers with something else than a listing, %q: check the endpoint", plain(string(body[:min(len(body), 300)])))
	}
	raw, err := &r.raw, r.raw.scan(r.body.Bytes())
	if errors.Is(err, errUnusual) {
		raw, err = parsePage(r.body.Bytes())
	}
	if err != nil {
		return nil, err
	}
	return raw.check()
}

// check makes a page of a rawPage that is sound in itself. The page shares no
// memory with it.
func (r *rawPage) check() (*page, error) {
	if string(r.truncated) != "true" && string(r.truncated) != "false" {
		return nil, cutf("a page of the listing does not say whether it is the last one (IsTruncated %q)", r.truncated)
	}
	// Some servers have a token on the last page, too. It is followed all the same: it leads to an
	// empty page, or to what would have been missed.
	if string(r.truncated) == "true" && len(r.token) == 0 {
		return nil, cutf("a page of the listing says IsTruncated %s and NextContinuationToken %q", r.truncated, r.token)
	}
	if n := len(r.contents) + len(r.prefixes); len(r.count) > 0 && string(r.count) != strconv.Itoa(n) {
		return nil, cutf("a page of the listing holds %d keys and says %s", n, r.count)
	}
	p := &page{objects: make([]buildcache.Object, len(r.contents)), prefixes: make([]string, len(r.prefixes)), token: string(r.token)}
	text := newTexts(r)
	for i := range r.contents {
		if err := r.contents[i].check(text, &p.objects[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.prefixes {
		var err error
		if p.prefixes[i], err = text.unescape(r.prefixes[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (r *rawObject) check(text *texts, o *buildcache.Object) (err error) {
	if o.Key, err = text.unescape(r.key); err != nil {
		return err
	}
	if o.Key == "" {
		return errors.New("listing: an object without a key")
	}
	o.ETag = unquote(text.add(r.etag))
	if o.ModTime, err = parseTime(r.modified); err != nil {
		return fmt.Errorf("listing: %s: LastModified %q", o.Key, r.modified)
	}
	if o.Size, err = strconv.ParseInt(string(r.size), 10, 64); err != nil || o.Size < 0 {
		return fmt.Errorf("listing: %s: Size %q", o.Key, r.size)
	}
	return nil
}

// parseTime is time.Parse, which would want a string.
func parseTime(text []byte) (t time.Time, err error) {
	if t.UnmarshalText(text) == nil {
		return t, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05.999999999Z0700", time.RFC1123} {
		if t, err = time.Parse(layout, string(text)); err == nil {
			break
		}
	}
	return t, err
}

// texts are the strings of a page, in one piece of memory: apart they would be
// two allocations for each object.
type texts struct {
	all      strings.Builder
	encoding string
}

func newTexts(r *rawPage) *texts {
	size := 0
	for i := range r.contents {
		size += len(r.contents[i].key) + len(r.contents[i].etag)
	}
	for _, prefix := range r.prefixes {
		size += len(prefix)
	}
	t := &texts{encoding: string(r.encoding)}
	t.all.Grow(size)
	return t
}

func (t *texts) add(text []byte) string {
	from := t.all.Len()
	t.all.Write(text)
	return t.all.String()[from:]
}

// unescape undoes encoding-type=url, which servers echo if they honour it.
func (t *texts) unescape(key []byte) (string, error) {
	if t.encoding == "" || bytes.IndexByte(key, '%') < 0 && bytes.IndexByte(key, '+') < 0 {
		return t.add(key), nil
	}
	if t.encoding != "url" {
		return "", fmt.Errorf("listing: unknown EncodingType %q", t.encoding)
	}
	plain, err := url.QueryUnescape(string(key))
	if err != nil {
		return "", fmt.Errorf("listing: key %q: %w", key, err)
	}
	return plain, nil
}

// unquote takes the quotes off an ETag, and what calls it weak: servers that compress on the way
// call so in one reply what is the same in another.
func unquote(etag string) string {
	etag = strings.TrimPrefix(etag, "W/")
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}
