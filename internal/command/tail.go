package command

import (
	"bytes"
	"strings"
)

const (
	tailLines = 20
	tailBytes = 4096
)

// A tail keeps the end of what is written to it.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[max(0, len(p)-tailBytes):]...)
	if n := len(t.buf); n > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[n-tailBytes:]...)
	}
	return len(p), nil
}

// String returns the last whole lines: at most tailLines of them, in at most tailBytes bytes.
func (t *tail) String() string {
	b := t.buf
	if n := len(b); n > tailBytes {
		b = b[n-tailBytes:]
		if _, rest, cut := bytes.Cut(b, []byte("\n")); cut && len(rest) > 0 {
			b = rest
		}
	}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(b), "")), "\n")
	for i, l := range lines {
		l = strings.TrimRight(l, "\r")
		lines[i] = l[strings.LastIndexByte(l, '\r')+1:] // a progress line that was painted over
	}
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
