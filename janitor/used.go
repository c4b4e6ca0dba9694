package janitor

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/janitor/dag"
	"github.com/openbraininstitute/spacktainers/janitor/scan"
)

// Uses say when something was last fetched: by the hash of a spec, or the key
// of a blob.
type Uses map[string]time.Time

// ReadUses reads what somebody made of the access logs of a mirror: on each
// line a hash or the key of an object, and a date as 2026-03-01T12:00:00Z. Keys
// may have the mirror's prefix before them. Objects that belong to no spec,
// such as the index, do not count.
//
// A line that says something else is an error, and so is a file without any
// use: half of it would make packages look unused.
func ReadUses(text io.Reader) (Uses, error) {
	uses := Uses{}
	lines := bufio.NewScanner(text)
	n := 1
	for ; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d: %w: %d fields, want a hash or key and a date", n, buildcache.ErrFormat, len(fields))
		}
		at, err := time.Parse(time.RFC3339, fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %q is no date such as 2026-03-01T12:00:00Z", n, buildcache.ErrFormat, fields[1])
		}
		what := usedObject(fields[0])
		if what == "" && !strings.Contains(fields[0], "/") {
			return nil, fmt.Errorf("line %d: %w: %q is neither a hash nor the key of an object", n, buildcache.ErrFormat, fields[0])
		}
		if what != "" && at.After(uses[what]) {
			uses[what] = at
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n, err)
	}
	if len(uses) == 0 {
		return nil, fmt.Errorf("%w: it names no package, so that none would look used: check how it was made", ErrRefused)
	}
	return uses, nil
}

// usedObject returns what a use counts for: a hash, the key of a blob, or
// nothing.
func usedObject(key string) string {
	if hash, err := buildcache.ParseHash(key); err == nil {
		return string(hash)
	}
	if hash, ok := buildcache.KeyHash(key); ok {
		return string(hash)
	}
	if at := strings.LastIndex(key, "blobs/"); at >= 0 && buildcache.KindOf(key[at:]) == scan.Blob {
		return key[at:]
	}
	return ""
}

// markUsed marks what was fetched less than an age ago, by any of its parts.
func markUsed(m *marks, policy Policy, now time.Time) {
	if policy.UsedSince == 0 {
		return
	}
	for at := range m.scan.InCache() {
		if last := policy.Uses.last(m.scan, at); now.Sub(last) < policy.UsedSince {
			m.keep("used on "+last.UTC().Format(time.DateOnly), at)
		}
	}
}

// last returns when a spec was last fetched, by any of its parts.
func (u Uses) last(s *scan.Scan, at dag.ID) time.Time {
	last := u[string(s.DAG.Hash(at))]
	for _, o := range s.All(at) {
		if s.Objects.At(o).Kind != scan.Blob {
			continue
		}
		if used := u[s.Objects.Key(o)]; used.After(last) {
			last = used
		}
	}
	return last
}

// namesAny reports whether a spec of the cache was ever fetched.
func (u Uses) namesAny(s *scan.Scan) bool {
	for at := range s.InCache() {
		if !u.last(s, at).IsZero() {
			return true
		}
	}
	return false
}
