// Package s3 is the store of a build cache that lives in a bucket, of AWS or
// of any server that speaks its protocol.
//
// It would rather fail than show a part: a listing that breaks off, a page
// without its end or a body shorter than announced is an error after the
// retries, never the end.
package s3

import (
	"strings"
	"sync/atomic"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Store is the part of a bucket below a prefix. It implements
// buildcache.Store and buildcache.Writer; keys are relative to the prefix.
type Store struct {
	client   *awss3.Client
	requests *Requests
	attempts int
	backoff  backoff
	keysFrom string

	anonymous bool // nothing is signed

	bucket   string
	prefix   string      // "" or with a slash at its end
	answered atomic.Bool // the bucket is there: it has answered once

	// What the server has refused so far.
	wantsMD5  atomic.Bool // requests without Content-MD5
	noBatches atomic.Bool // batch deletes at all
}

// String returns the URL of the store.
func (s *Store) String() string { return strings.TrimSuffix("s3://"+s.bucket+"/"+s.prefix, "/") }

// Requests counts what the store has sent and received.
func (s *Store) Requests() *Requests { return s.requests }
