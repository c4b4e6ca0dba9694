package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Unreadable is the error of an object that cannot be understood.
func Unreadable(key string, err error) error {
	return &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w; as long as it cannot be read nothing is deleted: push its package again, or remove it by hand", err)}
}

// Each runs f for 0 to n-1, some at a time.
func (o Options) Each(ctx context.Context, step string, n int, f func(ctx context.Context, i int) error) error {
	var done atomic.Int64
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for i := range n {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error {
			defer func() { o.Tell(step, int(done.Add(1)), n) }()
			return f(gctx, i)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// A StoreReader tells errors of the store from those of the text.
type StoreReader struct {
	R   io.Reader
	Err error
}

func (c *StoreReader) Read(p []byte) (int, error) {
	n, err := c.R.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		c.Err = err
	}
	return n, err
}
