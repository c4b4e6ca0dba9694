package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// An upload is one object on its way in parts.
type upload struct {
	store *Store
	op    operation
	key   string // relative to the store
	id    string
}

func (s *Store) putParts(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	u, err := s.newUpload(ctx, putting(opts.Condition), key, &awss3.CreateMultipartUploadInput{
		ContentType: optional(opts.ContentType), CacheControl: optional(opts.CacheControl), Metadata: opts.Metadata,
	})
	if err != nil {
		return "", err
	}
	return u.run(ctx, size, opts.Condition, func(ctx context.Context, n int32, offset, length int64) (*string, error) {
		var out *awss3.UploadPartOutput
		err := s.sendMD5(func(options ...func(*awss3.Options)) (err error) {
			out, err = s.client.UploadPart(ctx, &awss3.UploadPartInput{
				Bucket: &s.bucket, Key: ref(s.prefix + key), UploadId: &u.id, PartNumber: &n,
				Body: &exactly{io.NewSectionReader(body, offset, length)}, ContentLength: &length,
			}, options...)
			return err
		})
		if err != nil {
			return nil, err
		}
		return out.ETag, nil
	})
}

func (s *Store) newUpload(ctx context.Context, op operation, key string, in *awss3.CreateMultipartUploadInput) (*upload, error) {
	in.Bucket, in.Key = &s.bucket, ref(s.prefix+key)
	out, err := s.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return nil, s.explain(op, key, err)
	}
	return &upload{store: s, op: op, key: key, id: deref(out.UploadId)}, nil
}

// run sends the parts, several at a time, and joins them; or gives up what it
// has sent.
func (u *upload) run(ctx context.Context, size int64, cond buildcache.Condition, send func(ctx context.Context, n int32, offset, length int64) (etag *string, err error)) (string, error) {
	length := partLength(size)
	parts := make([]types.CompletedPart, (size+length-1)/length)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight / 2)
	for i := range parts {
		group.Go(func() error {
			n, offset := int32(i+1), int64(i)*length
			etag, err := send(groupCtx, n, offset, min(length, size-offset))
			parts[i] = types.CompletedPart{PartNumber: &n, ETag: etag}
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		var etag string
		if etag, err = u.complete(ctx, parts, cond); err == nil {
			return etag, nil
		}
	}
	return "", errors.Join(u.store.explain(u.op, u.key, err), u.abort(ctx))
}

func (u *upload) complete(ctx context.Context, parts []types.CompletedPart, cond buildcache.Condition) (string, error) {
	s := u.store
	out, err := s.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: ref(s.prefix + u.key), UploadId: &u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		IfMatch:         ifMatch(cond), IfNoneMatch: ifNoneMatch(cond),
	})
	if err != nil {
		return "", err
	}
	if deref(out.ETag) == "" { // the SDK takes an empty reply for success
		return "", cutf("the server does not confirm the upload")
	}
	return unquote(*out.ETag), nil
}

// abort lets the server throw the parts away, even if ctx has ended: no reader
// sees them, but they are paid for.
func (u *upload) abort(ctx context.Context) error {
	ctx, cancel := ctxio.CleanUp(ctx, time.Minute)
	defer cancel()
	s := u.store
	_, err := s.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: ref(s.prefix + u.key), UploadId: &u.id})
	if err != nil && status(err) != 404 {
		return fmt.Errorf("its parts stay in the bucket: %w", s.explain(operation{"abort the upload of", "s3:AbortMultipartUpload"}, u.key, err))
	}
	return nil
}

// partLength returns how long the parts of an object are, so that there are
// not too many of them.
func partLength(size int64) int64 {
	return max(partSize, (size+maxParts-1)/maxParts)
}
