package janitor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Entries are the records of an index, taken apart such that what stays can
// be written byte for byte as Spack wrote it.
type entries struct {
	head, tail []byte // up to and with the brace that opens the installs; from the one that closes them
	separator  []byte
	version    string
	records    []*record
	byHash     map[buildcache.Hash]*record
	end        int64 // of the last record that was read
}

// A record is an entry of the index.
type record struct {
	hash    buildcache.Hash
	raw     []byte // "HASH":{...}
	spec    *buildcache.Spec
	cached  bool // in_buildcache
	refs    int
	refAt   span // of the value of ref_count in raw
	cacheAt span
}

type span struct{ from, to int }

// parseEntries reads an index of version 7 or 8. Anything that it would have
// to guess at is an error.
func parseEntries(data []byte) (*entries, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	e := &entries{byHash: map[buildcache.Hash]*record{}}
	var open, end int64
	err := object(d, func(key string) error {
		if key != "database" {
			return skip(d)
		}
		return object(d, func(key string) error {
			switch key {
			case "version":
				return d.Decode(&e.version)
			case "installs":
				err := object(d, func(key string) error {
					if open == 0 {
						open = startOf(data, d.InputOffset(), key)
					}
					return e.read(d, data, key)
				})
				end = d.InputOffset() - 1
				if open == 0 {
					open = end
				}
				return err
			}
			return skip(d)
		})
	})
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("%w: there is text after the index", buildcache.ErrFormat)
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("index: %w", err)
	case end == 0:
		return nil, fmt.Errorf("index: %w: no database with installs", buildcache.ErrFormat)
	case e.version != "7" && e.version != "8":
		return nil, fmt.Errorf("index: %w: version %q is not known here (7 and 8 are): update this program, or the index with spack buildcache update-index", buildcache.ErrFormat, e.version)
	}
	e.head, e.tail = data[:open], data[end:]
	return e, nil
}

// object reads an object, calling member before each value; a key that comes
// twice is an error, since two readers could take different ones.
func object(d *json.Decoder, member func(key string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%w: want an object at byte %d: %v", buildcache.ErrFormat, d.InputOffset(), err)
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", buildcache.ErrFormat, err)
		}
		key, _ := t.(string)
		if seen[key] {
			return fmt.Errorf("%w: an object has the key %q twice", buildcache.ErrFormat, key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("%w: %w", buildcache.ErrFormat, err)
	}
	return nil
}

func skip(d *json.Decoder) error {
	var raw json.RawMessage
	return d.Decode(&raw)
}

// startOf returns where the quote of a plain key begins that ends at offset.
func startOf(data []byte, offset int64, key string) int64 { return offset - int64(len(key)) - 2 }

func (e *entries) read(d *json.Decoder, data []byte, key string) error {
	hash, err := buildcache.ParseHash(key)
	if err != nil {
		return err
	}
	start := startOf(data, d.InputOffset(), key)
	if string(data[start:d.InputOffset()]) != `"`+key+`"` {
		return fmt.Errorf("%w: the key of %s is written with escapes", buildcache.ErrFormat, hash)
	}
	if err := skip(d); err != nil {
		return fmt.Errorf("%w: %s: %w", buildcache.ErrFormat, hash, err)
	}
	if len(e.records) == 1 {
		e.separator = data[e.end:start]
	}
	e.end = d.InputOffset()
	r, err := parseRecord(hash, data[start:d.InputOffset()])
	if err != nil {
		return fmt.Errorf("%s: %w", hash, err)
	}
	e.records = append(e.records, r)
	e.byHash[hash] = r
	return nil
}

// parseRecord reads "HASH":{"spec":…,"ref_count":…,"in_buildcache":…}.
func parseRecord(hash buildcache.Hash, raw []byte) (*record, error) {
	r := &record{hash: hash, raw: raw}
	value := bytes.IndexByte(raw, ':') + 1
	d := json.NewDecoder(bytes.NewReader(raw[value:]))
	var refs *int
	var cached *bool
	err := object(d, func(key string) error {
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("%w: %w", buildcache.ErrFormat, err)
		}
		to := value + int(d.InputOffset())
		at := span{to - len(v), to}
		var err error
		switch key {
		case "spec":
			r.spec, err = buildcache.ParseSpec(v)
		case "ref_count":
			r.refAt, err = at, json.Unmarshal(v, &refs)
		case "in_buildcache":
			r.cacheAt, err = at, json.Unmarshal(v, &cached)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case r.spec == nil || refs == nil || cached == nil:
		return nil, fmt.Errorf("%w: the record lacks spec, ref_count or in_buildcache", buildcache.ErrFormat)
	case r.spec.Hash != hash:
		return nil, fmt.Errorf("%w: the record is about %s", buildcache.ErrFormat, r.spec)
	}
	r.spec.Parameters = nil // variants decide nothing here, and are most of the memory
	r.refs, r.cached = *refs, *cached
	return r, nil
}
