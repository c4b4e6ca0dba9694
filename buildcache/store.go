package buildcache

import (
	"context"
	"io"
	"iter"
	"time"
)

// An Object is what a store says of one of its objects.
type Object struct {
	Key     string // relative to the mirror, with forward slashes
	Size    int64  // bytes
	ETag    string // changes when the object is written again; opaque
	ModTime time.Time
}

// A Store is read access to the objects of a mirror. Its methods may be
// called from several goroutines.
type Store interface {
	// List yields the objects whose keys begin with prefix, which need not
	// end at a slash. None is no error; an error ends the sequence, and what
	// came before it is then not all there is.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Get opens an object. A missing one is fs.ErrNotExist; no other error
	// is, above all not that the whole store is missing.
	Get(ctx context.Context, key string) (io.ReadCloser, Object, error)
}

// A Version is one state of an object in a bucket that keeps them all.
type Version struct {
	Object
	ID      string // "null" if it was written before the bucket began to keep them
	Latest  bool   // what readers of the key see
	Deleted bool   // a delete marker: it has no content, and hides what is older
}

// Capable returns the store below one that only changes how it is written to: it may be able to do
// more than a Store.
func Capable(store Store) Store {
	if s, ok := store.(interface{ Unwrap() Store }); ok {
		return s.Unwrap()
	}
	return store
}
