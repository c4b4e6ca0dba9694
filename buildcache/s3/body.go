package s3

import (
	"context"
	"fmt"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// body returns a reader of the bytes from offset up to end, of which r is the
// first reply.
func (s *Store) body(ctx context.Context, o buildcache.Object, r io.ReadCloser, offset, end int64) io.ReadCloser {
	return &body{ctx: ctx, store: s, object: o, r: r, at: offset, end: end}
}

// A body goes on after a broken connection and ends only at its end.
type body struct {
	ctx    context.Context // readers have no other way to get it
	store  *Store
	object buildcache.Object
	r      io.ReadCloser
	at     int64 // what was read, from the beginning of the object
	end    int64
	broken int   // times in a row without a byte
	err    error // it ended with, or nil
}

func (b *body) Read(p []byte) (int, error) {
	for b.err == nil && len(p) > 0 {
		if b.at == b.end {
			b.err = io.EOF
			break
		}
		n, err := b.r.Read(p[:min(int64(len(p)), b.end-b.at)])
		b.at += int64(n)
		if n > 0 {
			b.broken = 0
			return n, nil // an error comes again
		}
		if err != nil {
			b.err = b.resume(err)
		}
	}
	return 0, b.err
}

// resume asks for the rest.
func (b *body) resume(err error) error {
	if err == io.EOF { // as io.Reader says
		err = io.ErrUnexpectedEOF
	}
	if b.broken++; b.broken >= b.store.attempts {
		return fmt.Errorf("%s: get %s: broke off after %d bytes, %d times: %w", b.store, b.object.Key, b.at, b.broken, err)
	}
	if err := b.store.backoff.wait(b.ctx, b.broken-1); err != nil {
		return err
	}
	b.r.Close()
	r, _, err := b.store.getRange(b.ctx, b.object.Key, b.object.ETag, b.at, b.end)
	if err != nil {
		return err
	}
	b.r = r
	return nil
}

func (b *body) Close() error { return b.r.Close() }
