package buildtime

import (
	"context"
	"io"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// ranges reads the beginning of an object in parts that grow: mostly the first one is enough, and a
// connection that is broken off costs more than another request.
type ranges struct {
	ctx   context.Context
	store buildcache.Store
	key   string
	size  int64 // to read at most
	at    int64 // read so far
	part  int64 // bytes that the current part has left
	next  int64 // size of the next part
	body  io.ReadCloser
	err   error // of the store
}

const (
	firstPart = 32 << 10
	lastPart  = 4 << 20
)

func (r *ranges) Read(b []byte) (int, error) {
	for r.part == 0 {
		r.close()
		if r.err != nil {
			return 0, r.err
		}
		if r.at >= r.size {
			return 0, io.EOF
		}
		if r.err = r.open(); r.err != nil {
			return 0, r.err
		}
	}
	n, err := r.body.Read(b[:min(int64(len(b)), r.part)])
	r.at, r.part = r.at+int64(n), r.part-int64(n)
	if err == io.EOF {
		if r.part > 0 {
			r.size = r.at // it is shorter than it was said to be
		}
		r.part, err = 0, nil
	}
	if err != nil {
		r.err = err
	}
	return n, err
}

// open begins the next part; the rest at once where the store reads no ranges, such as a folder.
func (r *ranges) open() (err error) {
	store, ok := r.store.(interface {
		GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, buildcache.Object, error)
	})
	if !ok {
		r.part = r.size - r.at
		r.body, _, err = r.store.Get(r.ctx, r.key)
		return err
	}
	r.next = min(max(firstPart, 2*r.next), lastPart)
	r.part = min(r.next, r.size-r.at)
	r.body, _, err = store.GetRange(r.ctx, r.key, r.at, r.part)
	return err
}

func (r *ranges) close() {
	if r.body != nil {
		r.body.Close() // it is only read
		r.body = nil
	}
}
