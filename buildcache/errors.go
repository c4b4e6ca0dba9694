package buildcache

import "errors"

// What can be wrong with a build cache. Callers branch on these with
// errors.Is; the errors that wrap them say what to do.
var (
	ErrNoCache    = errors.New("no build cache")   // the store holds neither layout
	ErrNotInCache = errors.New("not in the cache") // a spec, or one of its objects, is missing
	ErrChecksum   = errors.New("checksum")         // the bytes are not those that were stored
	ErrSignature  = errors.New("signature")        // unsigned, forged, or by a key not given
	ErrFormat     = errors.New("format")           // malformed, or newer than this package
)

// An ObjectError is what went wrong with one object of a build cache.
type ObjectError struct {
	Key string // of the object, relative to the mirror
	Err error
}

func (e *ObjectError) Error() string { return "build cache: " + e.Key + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ObjectError) Unwrap() error { return e.Err }
