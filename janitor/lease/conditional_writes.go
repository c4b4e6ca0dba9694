package lease

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// probe looks whether the store refuses writes whose conditions do not hold,
// and returns it, wrapped where it does not. Some ignore conditions, some know
// one of the two, some refuse all writes that have one. What it tries to write
// is the lease, as we have just written it.
func (l *Lease) probe(ctx context.Context) (buildcache.ReadWriter, error) {
	ignored := func(cond buildcache.Condition) (bool, error) {
		_, err := putJSON(ctx, l.Store, key, l.claim, cond)
		switch {
		case errors.Is(err, buildcache.ErrChanged):
			return false, nil
		case err == nil, errors.Is(err, errors.ErrUnsupported):
			return true, nil
		}
		return false, err
	}
	c := careful{ReadWriter: l.Store}
	var err error
	if c.noneMatch, err = ignored(buildcache.Condition{IfNoneMatch: true}); err == nil {
		c.match, err = ignored(buildcache.Condition{IfMatch: "00000000000000000000000000000000"})
	}
	if err != nil {
		return nil, fmt.Errorf("look what the store can do: %w", err)
	}
	if !c.noneMatch && !c.match {
		return l.Store, nil
	}
	l.Log("the store honours no %s: it is looked at just before each write, but two writers within that instant can overwrite each other: let nobody else write the index meanwhile", c.ignores())
	return c, nil
}

// A careful store looks before it writes, where the store below would not.
type careful struct {
	buildcache.ReadWriter
	noneMatch, match bool // that it does not honour
}

// Unwrap returns the store below, which may be able to do more.
func (s careful) Unwrap() buildcache.Store { return s.ReadWriter }

func (s careful) ignores() string {
	switch {
	case !s.match:
		return "If-None-Match"
	case !s.noneMatch:
		return "If-Match"
	}
	return "conditional writes"
}

func (s careful) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	if opts.IfNoneMatch && s.noneMatch || opts.IfMatch != "" && s.match {
		etag, err := etagOf(ctx, s.ReadWriter, key)
		if err != nil {
			return "", err
		}
		if etag != opts.IfMatch { // both are "" for what must not be there
			return "", fmt.Errorf("%s: %w", key, buildcache.ErrChanged)
		}
		opts.Condition = buildcache.Condition{}
	}
	return s.ReadWriter.Put(ctx, key, body, size, opts)
}

// etagOf returns the ETag of an object, or "" if it is not there.
func etagOf(ctx context.Context, store buildcache.Store, key string) (string, error) {
	body, o, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", &buildcache.ObjectError{Key: key, Err: err}
	}
	return o.ETag, body.Close()
}

func putJSON(ctx context.Context, store buildcache.ReadWriter, key string, v any, cond buildcache.Condition) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	etag, err := store.Put(ctx, key, bytes.NewReader(data), int64(len(data)), buildcache.PutOptions{ContentType: "application/json", Condition: cond})
	if err != nil {
		return "", fmt.Errorf("write %s: %w", key, err)
	}
	return etag, nil
}
