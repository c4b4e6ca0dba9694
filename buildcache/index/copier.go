package index

import (
	"bufio"
	"fmt"
	"io"
)

// A copier copies parts of a file in its order. Its methods do nothing after
// the first error, which finish returns.
type copier struct {
	dst  *bufio.Writer
	src  io.ReaderAt
	size int64 // of src
	at   int64 // the next byte to copy
	buf  []byte
	base int64 // where buf is in src
	err  error
}

func newCopier(dst io.Writer, src io.ReaderAt, size int64) *copier {
	return &copier{dst: bufio.NewWriterSize(dst, window), src: src, size: size, buf: make([]byte, 0, window)}
}

func (c *copier) skipTo(at int64) { c.at = at }

func (c *copier) copyTo(end int64) {
	for c.at < end && c.err == nil {
		part := c.next(end - c.at)
		if c.err == nil {
			_, c.err = c.dst.Write(part)
		}
		c.at += int64(len(part))
	}
}

// replace copies up to at, and there writes other text instead of what must
// stand there.
func (c *copier) replace(at int64, old, text string) {
	c.copyTo(at)
	for old != "" && c.err == nil {
		part := c.next(int64(len(old)))
		if c.err == nil && string(part) != old[:len(part)] {
			c.err = fmt.Errorf("index: byte %d: %w: want %q", c.at, errChanged, old)
		}
		old = old[len(part):]
		c.at += int64(len(part))
	}
	c.write(text)
}

func (c *copier) write(text string) {
	if c.err == nil {
		_, c.err = c.dst.WriteString(text)
	}
}

// next returns at least one and at most n of the next bytes.
func (c *copier) next(n int64) []byte {
	if c.at < c.base || c.at >= c.base+int64(len(c.buf)) {
		c.load()
	}
	rest := c.buf[c.at-c.base:]
	return rest[:min(n, int64(len(rest)))]
}

func (c *copier) load() {
	want := min(int64(cap(c.buf)), c.size-c.at)
	n, err := c.src.ReadAt(c.buf[:want], c.at)
	c.buf, c.base = c.buf[:n], c.at
	switch {
	case int64(n) == want:
	case err == io.EOF:
		c.err = fmt.Errorf("index: byte %d: %w: it ends here", c.at+int64(n), errChanged)
	default:
		c.err = fmt.Errorf("index: byte %d: %w", c.at+int64(n), err)
	}
}

// finish checks that the file ends where it did.
func (c *copier) finish() error {
	if c.err == nil {
		if n, _ := c.src.ReadAt(make([]byte, 1), c.size); n > 0 {
			c.err = fmt.Errorf("index: byte %d: %w: it has grown", c.size, errChanged)
		}
	}
	if c.err != nil {
		return c.err
	}
	return c.dst.Flush()
}
