// Package ctxio is reading and waiting that end: with a context, or because
// nothing comes any more.
package ctxio

import (
	"context"
	"io"
	"time"
)

// Reader returns a reader that ends with a context.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// Sleep waits, but not longer than the context lasts.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Step is how many bytes must come in a Stall's Limit: a server that sends one
// now and then would else keep us for years.
const Step = 64 << 10

// A Stall breaks off a transfer of which fewer than Step bytes come while it
// was waited for Limit. Time between two reads does not count: that is the
// caller's.
type Stall struct {
	Limit time.Duration
	Break func() // ends the read that waits

	waited time.Duration
	got    int
}

// Read reads from r.
func (s *Stall) Read(r io.Reader, p []byte) (int, error) {
	began := time.Now()
	timer := time.AfterFunc(s.Limit-s.waited, s.Break)
	n, err := r.Read(p)
	timer.Stop()
	s.waited += time.Since(began)
	if s.got += n; s.got >= Step {
		s.waited, s.got = 0, 0
	}
	return n, err
}
