package s3

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Get opens an object. A connection that breaks while the body is read is
// taken up where it broke, as long as the object stays the same.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, buildcache.Object, error) {
	out, err := s.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + key)})
	if err != nil {
		return nil, buildcache.Object{}, s.explain(opGet, key, err)
	}
	s.answered.Store(true)
	o := object(key, out)
	if out.ContentLength == nil {
		out.Body.Close()
		return nil, buildcache.Object{}, fmt.Errorf("%s: get %s: the server does not say how long it is", s, key)
	}
	o.Size = *out.ContentLength
	return s.body(ctx, o, out.Body, 0, o.Size), o, nil
}

// GetRange opens length bytes of an object from offset on. They must exist.
// The Object is the whole one.
func (s *Store) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, buildcache.Object, error) {
	if offset < 0 || length <= 0 {
		return nil, buildcache.Object{}, fmt.Errorf("%s: get %s: %d bytes from %d on", s, key, length, offset)
	}
	body, o, err := s.getRange(ctx, key, "", offset, offset+length)
	if err != nil {
		return nil, buildcache.Object{}, err
	}
	return s.body(ctx, o, body, offset, offset+length), o, nil
}

// getRange asks for the bytes from offset up to end of the object that has
// this ETag, if one is given.
func (s *Store) getRange(ctx context.Context, key, etag string, offset, end int64) (io.ReadCloser, buildcache.Object, error) {
	in := &awss3.GetObjectInput{
		Bucket: &s.bucket,
		Key:    ref(s.prefix + key),
		Range:  ref(fmt.Sprintf("bytes=%d-%d", offset, end-1)),
	}
	if etag != "" {
		in.IfMatch = ref(quote(etag))
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, buildcache.Object{}, s.explain(opGet, key, err)
	}
	s.answered.Store(true)
	o := object(key, out)
	size, ok := strings.CutPrefix(deref(out.ContentRange), fmt.Sprintf("bytes %d-%d/", offset, end-1))
	if o.Size, err = strconv.ParseInt(size, 10, 64); !ok || err != nil {
		out.Body.Close()
		return nil, buildcache.Object{}, fmt.Errorf("%s: get %s: asked for bytes %d to %d, got %q", s, key, offset, end-1, deref(out.ContentRange))
	}
	return out.Body, o, nil
}

// Stat returns what the store says of an object without opening it. A missing
// one is fs.ErrNotExist.
func (s *Store) Stat(ctx context.Context, key string) (buildcache.Object, error) {
	out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + key)})
	if status(err) == 404 && !s.answered.Load() {
		// The reply has no body to say whether the bucket is missing.
		if _, bucket := s.client.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: &s.bucket}); status(bucket) == 404 {
			err = bucket
		}
	}
	if err != nil {
		return buildcache.Object{}, s.explain(opStat, key, err)
	}
	s.answered.Store(true)
	o := buildcache.Object{Key: key, ETag: unquote(deref(out.ETag)), ModTime: deref(out.LastModified)}
	if out.ContentLength == nil {
		return buildcache.Object{}, fmt.Errorf("%s: look at %s: the server does not say how long it is", s, key)
	}
	o.Size = *out.ContentLength
	return o, nil
}

// Metadata returns what a Put has said of an object, by lower-case names.
func (s *Store) Metadata(ctx context.Context, key string) (map[string]string, error) {
	out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + key)})
	if err != nil {
		return nil, s.explain(opStat, key, err)
	}
	metadata := map[string]string{}
	for name, value := range out.Metadata {
		metadata[strings.ToLower(name)] = value
	}
	return metadata, nil
}

func object(key string, out *awss3.GetObjectOutput) buildcache.Object {
	return buildcache.Object{Key: key, ETag: unquote(deref(out.ETag)), ModTime: deref(out.LastModified)}
}

func quote(etag string) string { return `"` + etag + `"` }

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
