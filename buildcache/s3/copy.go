package s3

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// maxCopy is how big an object, in bytes, one request can copy.
const maxCopy = 5 << 30

// Copy has the server copy an object, with its content type and the like. No
// byte of it passes through here.
func (s *Store) Copy(ctx context.Context, from, to string) error {
	if from == to || from == "" || to == "" {
		return fmt.Errorf("%s: copy %q to %q: want two keys", s, from, to)
	}
	out, err := s.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + to), CopySource: ref(s.source(from))})
	if err == nil && (out.CopyObjectResult == nil || deref(out.CopyObjectResult.ETag) == "") {
		err = cutf("the server does not confirm the copy") // the SDK takes an empty reply for success
	}
	if status(err) == http.StatusBadRequest { // perhaps for its size, which was not asked for so far
		if o, head := s.head(ctx, from); head == nil && deref(o.ContentLength) > maxCopy {
			return s.copyParts(ctx, from, o, to)
		}
	}
	if err != nil {
		return s.explain(opCopy, from, err)
	}
	return nil
}

func (s *Store) head(ctx context.Context, key string) (*awss3.HeadObjectOutput, error) {
	return s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + key)})
}

// copyParts says in several requests what the server does by itself in one.
func (s *Store) copyParts(ctx context.Context, from string, o *awss3.HeadObjectOutput, to string) error {
	u, err := s.newUpload(ctx, opCopy, to, &awss3.CreateMultipartUploadInput{
		ContentType: o.ContentType, CacheControl: o.CacheControl, Metadata: o.Metadata,
	})
	if err != nil {
		return err
	}
	source := s.source(from)
	_, err = u.run(ctx, *o.ContentLength, buildcache.Condition{}, func(ctx context.Context, n int32, offset, length int64) (*string, error) {
		out, err := s.client.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
			Bucket: &s.bucket, Key: ref(s.prefix + to), UploadId: &u.id, PartNumber: &n,
			CopySource: &source, CopySourceIfMatch: o.ETag,
			CopySourceRange: ref(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)),
		})
		if err != nil {
			return nil, err
		}
		if out.CopyPartResult == nil || out.CopyPartResult.ETag == nil {
			return nil, cutf("the server does not confirm the copy")
		}
		return out.CopyPartResult.ETag, nil
	})
	return err
}

// source names an object in the header of a copy, where it must be escaped.
func (s *Store) source(key string) string {
	parts := strings.Split(s.bucket+"/"+s.prefix+key, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "+", "%20")
	}
	return strings.Join(parts, "/")
}
