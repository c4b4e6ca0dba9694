package inventory

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// columns says where in a row a field stands; -1 is nowhere.
type columns struct {
	count                             int
	bucket, key, size, modified, etag int
	version, latest, marker           int
}

// parseSchema reads the list of columns. They are those that were asked for
// when the inventory was set up.
func parseSchema(schema string) (columns, error) {
	at := map[string]int{}
	names := strings.Split(schema, ",")
	for i, name := range names {
		name = strings.TrimSpace(name)
		if _, twice := at[name]; twice {
			return columns{}, fmt.Errorf("%w: its column %s is there twice", buildcache.ErrFormat, name)
		}
		at[name] = i
	}
	find := func(name string) int {
		if i, ok := at[name]; ok {
			return i
		}
		return -1
	}
	c := columns{
		count: len(names), bucket: find("Bucket"), key: find("Key"), size: find("Size"), modified: find("LastModifiedDate"), etag: find("ETag"),
		version: find("VersionId"), latest: find("IsLatest"), marker: find("IsDeleteMarker"),
	}
	for _, name := range []string{"Bucket", "Key", "Size", "LastModifiedDate", "ETag"} {
		if find(name) < 0 {
			return c, fmt.Errorf("it has no column %s: set the inventory up with Size, LastModifiedDate and ETag", name)
		}
	}
	if c.version >= 0 && (c.latest < 0 || c.marker < 0) {
		return c, fmt.Errorf("%w: it has versions, but no columns IsLatest and IsDeleteMarker", buildcache.ErrFormat)
	}
	return c, nil
}

// object reads a row. It is not ok if the row is no object of the mirror: it
// lies elsewhere in the bucket, or was overwritten or deleted.
func (c columns) object(row []string, m Mirror) (o buildcache.Object, ok bool, err error) {
	if row[c.bucket] != m.Bucket {
		return o, false, fmt.Errorf("%w: bucket %q, want %q", buildcache.ErrFormat, row[c.bucket], m.Bucket)
	}
	key, err := url.QueryUnescape(row[c.key])
	if err != nil || key == "" {
		return o, false, fmt.Errorf("%w: key %q: want it URL-encoded", buildcache.ErrFormat, row[c.key])
	}
	there, err := c.there(row)
	if err != nil || !there {
		return o, false, err
	}
	if key, ok = strings.CutPrefix(key, m.Prefix); !ok || key == "" {
		return o, false, nil
	}
	o = buildcache.Object{Key: strings.Clone(key), ETag: strings.Clone(strings.Trim(row[c.etag], `"`))}
	if o.Size, err = strconv.ParseInt(row[c.size], 10, 64); err != nil || o.Size < 0 {
		return o, false, fmt.Errorf("%w: %s: size %q", buildcache.ErrFormat, key, row[c.size])
	}
	if o.ModTime, err = time.Parse(time.RFC3339, row[c.modified]); err != nil {
		return o, false, fmt.Errorf("%w: %s: date %q", buildcache.ErrFormat, key, row[c.modified])
	}
	if o.ETag == "" {
		return o, false, fmt.Errorf("%w: %s has no ETag", buildcache.ErrFormat, key)
	}
	return o, true, nil
}

// there reports whether a row is what a reader of the bucket finds.
func (c columns) there(row []string) (bool, error) {
	is := func(column int, otherwise bool) (bool, error) {
		if column < 0 {
			return otherwise, nil
		}
		b, err := strconv.ParseBool(row[column])
		if err != nil {
			return false, fmt.Errorf("%w: %q is neither true nor false", buildcache.ErrFormat, row[column])
		}
		return b, nil
	}
	latest, err := is(c.latest, true)
	if err != nil {
		return false, err
	}
	marker, err := is(c.marker, false)
	return latest && !marker, err
}
