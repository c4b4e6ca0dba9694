package janitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

func unreadable(key string, err error) error {
	return &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%w; as long as it cannot be read nothing is deleted: push its package again, or remove it by hand", err)}
}

// each runs f for 0 to n-1, some at a time.
func (r *scanner) each(ctx context.Context, step string, n int, f func(ctx context.Context, i int) error) error {
	var done atomic.Int64
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Parallel)
	for i := range n {
		if gctx.Err() != nil {
			break
		}
		group.Go(func() error {
			defer func() { r.opts.watch(step, int(done.Add(1)), n) }()
			return f(gctx, i)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// get reads a small object; that it went away since it was listed is an error
// like any other.
func (r *scanner) get(ctx context.Context, key string) ([]byte, buildcache.Object, error) {
	return get(ctx, r.store, key)
}

func get(ctx context.Context, store buildcache.Store, key string) ([]byte, buildcache.Object, error) {
	body, o, err := store.Get(ctx, key)
	if err != nil {
		return nil, o, &buildcache.ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	var data bytes.Buffer
	if _, err := data.ReadFrom(body); err != nil {
		return nil, o, &buildcache.ObjectError{Key: key, Err: err}
	}
	if o.Size != int64(data.Len()) {
		return nil, o, &buildcache.ObjectError{Key: key, Err: fmt.Errorf("%d bytes came, %d were announced: %w", data.Len(), o.Size, io.ErrUnexpectedEOF)}
	}
	return data.Bytes(), o, nil
}

// exists looks whether an object is there though it was not listed.
func exists(ctx context.Context, store buildcache.Store, key string) (bool, error) {
	body, _, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &buildcache.ObjectError{Key: key, Err: err}
	}
	return true, body.Close()
}
