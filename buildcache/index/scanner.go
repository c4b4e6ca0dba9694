package index

import (
	"fmt"
	"io"
)

const (
	window    = 256 << 10 // stays in a core's cache
	maxWindow = 64 << 20  // no record is so big
)

// A scanner reads JSON from a window that moves over the file. Its parsing
// methods return errShort where the window ends too early; whole then moves
// the window and parses the value again. That happens to one record in a
// hundred, and spares all others the question.
type scanner struct {
	what  string // is read: an index or a lockfile
	src   io.Reader
	buf   []byte // the window
	i     int    // the next byte in it
	base  int64  // offset of the window in the file
	depth int    // of objects and arrays
	eof   bool   // nothing follows the window
	keys  *keys  // of the objects that are open; nil where they may be there twice
}

// newScanner takes a smaller window for a small file; size is 0 if unknown.
func newScanner(what string, src io.Reader, size int64) *scanner {
	if size <= 0 || size > window {
		size = window
	}
	return &scanner{what: what, src: src, buf: make([]byte, 0, size)}
}

// offset returns where buf[i] is in the file.
func (s *scanner) offset(i int) int64 { return s.base + int64(i) }

// whole parses what is not longer than maxWindow. parse must begin anew each
// time that it is called.
func (s *scanner) whole(parse func() error) error {
	depth, open := s.depth, s.keys.mark()
	for start := s.i; ; start = 0 {
		err := parse()
		if err != errShort {
			return err
		}
		s.i, s.depth = start, depth
		s.keys.reset(open)
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// fill moves the window so that it begins at the next byte, and makes it
// longer where it begins there already.
func (s *scanner) fill() error {
	if s.eof {
		return s.truncated()
	}
	if s.i == 0 && len(s.buf) == cap(s.buf) {
		if cap(s.buf) >= maxWindow {
			return s.fail("a value of more than %d MiB", maxWindow>>20)
		}
		s.buf = append(make([]byte, 0, 2*cap(s.buf)), s.buf...)
	}
	n := copy(s.buf, s.buf[s.i:])
	s.base += int64(s.i)
	s.buf, s.i = s.buf[:n], 0
	return s.read()
}

// read fills the window to its end: what stands at its end is parsed twice, so
// short reads would cost.
func (s *scanner) read() error {
	for idle := 0; len(s.buf) < cap(s.buf); {
		n, err := s.src.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		if err == io.EOF {
			s.eof = true
			return nil
		}
		if idle++; n > 0 {
			idle = 0
		}
		if err == nil && idle == 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			return fmt.Errorf("%s: byte %d: %w", s.what, s.offset(len(s.buf)), err)
		}
	}
	return nil
}
