package buildcache

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrChanged is a condition of a write that does not hold: another process wrote
// the object meanwhile. Read it again and decide anew. What is there can even
// be what this very call wrote, if the first reply was lost and the request
// repeated.
var ErrChanged = errors.New("changed meanwhile")

// A Writer is write access to the objects of a mirror. Its methods may be
// called from several goroutines.
type Writer interface {
	// Put stores the first size bytes of body under key and returns their
	// ETag. Readers see the former object or this one whole, never a part,
	// and on an error either of the two.
	Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts PutOptions) (etag string, err error)

	// Delete removes objects; one that is not there is no error. If some
	// could not be removed the error is a *DeleteError, and every key that
	// it does not name is gone.
	Delete(ctx context.Context, keys []string) error

	// Copy makes or overwrites the object to with what from holds. The copy
	// counts as new: its ModTime is now. A missing from is fs.ErrNotExist.
	Copy(ctx context.Context, from, to string) error
}

// A ReadWriter is a mirror that can be written to.
type ReadWriter interface {
	Store
	Writer
}

// PutOptions are what a Put can say besides content. The zero value overwrites
// whatever is there.
type PutOptions struct {
	ContentType  string            // a media type; folders do not keep it
	CacheControl string            // as in the HTTP header; folders do not keep it
	Metadata     map[string]string // of the user's, lower-case names; folders do not keep it
	Condition
}

// A Condition must hold for a write to take place, else it is ErrChanged. Of
// several writers under the same condition one wins. At most one of the two
// may be given. Some servers ignore conditions; others refuse any write that
// has one, with errors.ErrUnsupported.
type Condition struct {
	IfMatch     string // the object is there with this ETag
	IfNoneMatch bool   // the object is not there
}

// A DeleteError says what a Delete left in place.
type DeleteError struct {
	Failed []ObjectError // at least one
}

func (e *DeleteError) Error() string {
	first := &e.Failed[0]
	if n := len(e.Failed); n > 1 {
		return fmt.Sprintf("%d objects not deleted, first %s: %v", n, first.Key, first.Err)
	}
	return fmt.Sprintf("%s not deleted: %v", first.Key, first.Err)
}

// Unwrap returns the cause for each key.
func (e *DeleteError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i := range e.Failed {
		errs[i] = &e.Failed[i]
	}
	return errs
}
