package index

import (
	"errors"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// A VersionError is an index of a version that is not known here: 7 and 8 are.
// It is buildcache.ErrFormat.
type VersionError struct {
	Version string // empty where the index does not say
}

func (e *VersionError) Error() string {
	if e.Version == "" {
		return "index: it does not say its version"
	}
	return fmt.Sprintf("index: version %q is not known here (7 and 8 are): update this program, or the index with spack buildcache update-index", e.Version)
}

// Unwrap returns buildcache.ErrFormat.
func (e *VersionError) Unwrap() error { return buildcache.ErrFormat }

// errShort says that a value goes on behind the end of the buffer.
var errShort = errors.New("index: more bytes are needed")

// errChanged says that the file is not the one that was read.
var errChanged = errors.New("the index is not the one that was read")

// fail names the byte at which the scanner stands.
func (s *scanner) fail(format string, args ...any) error {
	return s.failAt(s.i, format, args...)
}

func (s *scanner) failAt(i int, format string, args ...any) error {
	return fmt.Errorf("index: byte %d: %w: %s", s.offset(i), buildcache.ErrFormat, fmt.Sprintf(format, args...))
}

func truncated(offset int64) error {
	return fmt.Errorf("index: byte %d: %w: %w: the file is cut off", offset, buildcache.ErrFormat, io.ErrUnexpectedEOF)
}
