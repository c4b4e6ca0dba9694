package s3

import (
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

// A cutError is a reply that is less than it should be. A retry may help.
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
	truncated string // true or false
	token     string
	count     string // KeyCount; some servers leave it out
	encoding  string // url, or nothing
	contents  []rawObject
	prefixes  []string
}

type rawObject struct{ key, modified, etag, size string }

// decodePage reads a page: fast if it looks as servers write it, else with
// encoding/xml. A page without its end is a cutError.
func decodePage(body []byte) (*page, error) {
	raw, err := scanPage(body)
	if errors.Is(err, errUnusual) {
		raw, err = parsePage(body)
	}
	if err != nil {
		return nil, err
	}
	return raw.check()
}

// check makes a page of a rawPage that is sound in itself.
func (r *rawPage) check() (*page, error) {
	if r.truncated != "true" && r.truncated != "false" {
		return nil, cutf("a page of the listing does not say whether it is the last one (IsTruncated %q)", r.truncated)
	}
	if (r.truncated == "true") != (r.token != "") {
		return nil, cutf("a page of the listing says IsTruncated %s and NextContinuationToken %q", r.truncated, r.token)
	}
	if n := len(r.contents) + len(r.prefixes); r.count != "" && r.count != strconv.Itoa(n) {
		return nil, cutf("a page of the listing holds %d keys and says %s", n, r.count)
	}
	p := &page{objects: make([]buildcache.Object, len(r.contents)), prefixes: r.prefixes, token: strings.Clone(r.token)} // else it would keep the whole page
	for i := range r.contents {
		if err := r.contents[i].check(r.encoding, &p.objects[i]); err != nil {
			return nil, err
		}
	}
	for i := range p.prefixes {
		if err := unescape(&p.prefixes[i], r.encoding); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (r *rawObject) check(encoding string, o *buildcache.Object) (err error) {
	if err := unescape(&r.key, encoding); err != nil {
		return err
	}
	if r.key == "" {
		return errors.New("listing: an object without a key")
	}
	o.Key, o.ETag = strings.Clone(r.key), strings.Clone(unquote(r.etag)) // not to keep the page
	if o.ModTime, err = time.Parse(time.RFC3339, r.modified); err != nil {
		return fmt.Errorf("listing: %s: LastModified %q", r.key, r.modified)
	}
	if o.Size, err = strconv.ParseInt(r.size, 10, 64); err != nil || o.Size < 0 {
		return fmt.Errorf("listing: %s: Size %q", r.key, r.size)
	}
	return nil
}

// unescape undoes encoding-type=url, which servers echo if they heed it.
func unescape(key *string, encoding string) error {
	if encoding == "" || !strings.ContainsAny(*key, "%+") {
		return nil
	}
	if encoding != "url" {
		return fmt.Errorf("listing: unknown EncodingType %q", encoding)
	}
	plain, err := url.QueryUnescape(*key)
	if err != nil {
		return fmt.Errorf("listing: key %q: %w", *key, err)
	}
	*key = plain
	return nil
}

func unquote(etag string) string {
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}
