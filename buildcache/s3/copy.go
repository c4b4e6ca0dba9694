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
	return s.copyFrom(ctx, opCopy, target{key: from}, to)
}

func (s *Store) copyFrom(ctx context.Context, op operation, from target, to string) error {
	if from == (target{key: to}) || from.key == "" || to == "" {
		return fmt.Errorf("%s: copy %q to %q: want two keys", s, from.key, to)
	}
	out, err := s.client.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + to), CopySource: ref(s.source(from))})
	if err == nil && (out.CopyObjectResult == nil || deref(out.CopyObjectResult.ETag) == "") {
		err = cutf("the server does not confirm the copy") // the SDK takes an empty reply for success
	}
	if status(err) == http.StatusBadRequest { // perhaps for its size, which was not asked for so far
		if o, head := s.head(ctx, from); head == nil && deref(o.ContentLength) > maxCopy {
			return s.copyParts(ctx, op, from, o, to)
		}
	}
	if err != nil {
		return s.explain(op, from.key, err)
	}
	return nil
}

func (s *Store) head(ctx context.Context, from target) (*awss3.HeadObjectOutput, error) {
	return s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &s.bucket, Key: ref(s.prefix + from.key), VersionId: optional(from.version)})
}

// copyParts says in several requests what the server does by itself in one.
func (s *Store) copyParts(ctx context.Context, op operation, from target, o *awss3.HeadObjectOutput, to string) error {
	u, err := s.newUpload(ctx, op, to, &awss3.CreateMultipartUploadInput{
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
func (s *Store) source(from target) string {
	parts := strings.Split(s.bucket+"/"+s.prefix+from.key, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "+", "%20")
	}
	source := strings.Join(parts, "/")
	if from.version != "" {
		source += "?versionId=" + url.QueryEscape(from.version)
	}
	return source
}
