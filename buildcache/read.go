package buildcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// maxWhole bounds what is read as a whole, in bytes. The biggest is the janitor's room, with 32 MB for
// a million specs.
const maxWhole = 256 << 20

// ReadAll reads a small object as a whole. Its errors are ObjectErrors; one that is too big to be
// what its key says is ErrFormat.
func ReadAll(ctx context.Context, store Store, key string) ([]byte, Object, error) {
	limit := int64(maxWhole)
	switch KindOf(key) {
	case SpecManifest, IndexManifest, OtherManifest:
		limit = maxManifest
	}
	body, o, err := store.Get(ctx, key)
	if err != nil {
		return nil, o, &ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	if o.Size > limit {
		return nil, o, &ObjectError{Key: key, Err: fmt.Errorf("%w: %d bytes, more than %d", ErrFormat, o.Size, limit)}
	}
	var data bytes.Buffer
	if _, err := data.ReadFrom(io.LimitReader(body, o.Size+1)); err != nil {
		return nil, o, &ObjectError{Key: key, Err: err}
	}
	if o.Size != int64(data.Len()) {
		return nil, o, &ObjectError{Key: key, Err: fmt.Errorf("%d bytes came, %d were announced: %w", data.Len(), o.Size, io.ErrUnexpectedEOF)}
	}
	return data.Bytes(), o, nil
}

// Exists looks whether an object is there though it was not listed.
func Exists(ctx context.Context, store Store, key string) (bool, error) {
	body, _, err := store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &ObjectError{Key: key, Err: err}
	}
	return true, body.Close()
}
