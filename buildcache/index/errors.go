package index

import (
	"errors"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A VersionError is an index whose version is too old, or no number. It is buildcache.ErrFormat.
type VersionError struct {
	Version string // empty where the index does not say
}

func (e *VersionError) Error() string {
	if e.Version == "" {
		return "index: it does not say its version"
	}
	f := buildcache.DatabaseFormat
	return fmt.Sprintf("index: version %q is not known here (%d to %d are): update the index with spack buildcache update-index", e.Version, f.Oldest, f.Tested)
}

// Unwrap returns buildcache.ErrFormat.
func (e *VersionError) Unwrap() error { return buildcache.ErrFormat }

// errShort says that a value goes on behind the end of the buffer.
var errShort = errors.New("index: more bytes are needed")

// errNoIndex says that a graph is that of a lockfile: it says nothing of where
// the entries of an index would stand.
var errNoIndex = errors.New("index: the graph is not one of an index")

// ErrNewer says that an index is of a version newer than those that were tried: it is read, and
// never rewritten.
var ErrNewer = errors.New("the index is of a newer version")

// errChanged says that the file is not the one that was read.
var errChanged = errors.New("the index is not the one that was read")

// fail names the byte at which the scanner stands.
func (s *scanner) fail(format string, args ...any) error {
	return s.failAt(s.offset(s.i), format, args...)
}

func (s *scanner) failAt(offset int64, format string, args ...any) error {
	return fmt.Errorf("%s: byte %d: %w: %s", s.what, offset, buildcache.ErrFormat, fmt.Sprintf(format, args...))
}

func (s *scanner) truncated() error {
	return fmt.Errorf("%s: byte %d: %w: %w: the file is cut off", s.what, s.offset(len(s.buf)), buildcache.ErrFormat, io.ErrUnexpectedEOF)
}
