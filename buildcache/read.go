package buildcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// maxWhole bounds what is read as a whole, in bytes. The biggest of ours is the janitor's room, with
// 32 MB for a million specs; Spack's manifests and spec files have kilobytes.
const maxWhole = 256 << 20

// ReadAll reads a small object as a whole. Its errors are ObjectErrors; one that is too big to be
// anything that is read like this is ErrFormat.
func ReadAll(ctx context.Context, store Store, key string) ([]byte, Object, error) {
	body, o, err := store.Get(ctx, key)
	if err != nil {
		return nil, o, &ObjectError{Key: key, Err: err}
	}
	defer body.Close()
	if o.Size > maxWhole {
		return nil, o, &ObjectError{Key: key, Err: fmt.Errorf("%w: %d bytes, more than %d", ErrFormat, o.Size, maxWhole)}
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
