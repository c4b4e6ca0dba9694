package s3test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

var buckets atomic.Int64

func (s *Server) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint:               &s.Endpoint,
		Region:                     "us-east-1",
		UsePathStyle:               true,
		Credentials:                credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// NewBucket makes an empty bucket and returns its name.
func (s *Server) NewBucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", buckets.Add(1))
	if err := s.MakeBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// MakeBucket makes an empty bucket.
func (s *Server) MakeBucket(ctx context.Context, name string) error {
	_, err := s.admin.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	return err
}

// AllowReads lets everybody list and read a bucket, also without credentials,
// but change nothing.
func (s *Server) AllowReads(t testing.TB, bucket string) {
	t.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},
		"Action":["s3:GetObject","s3:ListBucket","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]}]}`, bucket)
	if _, err := s.admin.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

// EnableVersioning makes a bucket keep what is overwritten or deleted.
func (s *Server) EnableVersioning(t testing.TB, bucket string) {
	t.Helper()
	s.versioning(t, bucket, types.BucketVersioningStatusEnabled)
}

// SuspendVersioning lets a bucket keep what it has kept so far, and no more.
func (s *Server) SuspendVersioning(t testing.TB, bucket string) {
	t.Helper()
	s.versioning(t, bucket, types.BucketVersioningStatusSuspended)
}

func (s *Server) versioning(t testing.TB, bucket string, status types.BucketVersioningStatus) {
	t.Helper()
	_, err := s.admin.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// SetModTime makes an object look as if it had been written at that time.
func (s *Server) SetModTime(t testing.TB, bucket, key string, at time.Time) {
	t.Helper()
	if s.Name == versitygw.name() {
		if err := s.touch(bucket, key, at); err != nil {
			t.Fatal(err)
		}
		return
	}
	out, err := s.admin.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: seekable(t, out.Body), ContentType: out.ContentType, CacheControl: out.CacheControl}
	if _, err := s.admin.PutObject(t.Context(), in, writtenAt(at)); err != nil {
		t.Fatal(err)
	}
}

// PutAt stores an object as if it had been written at that time.
func (s *Server) PutAt(ctx context.Context, bucket, key string, body []byte, at time.Time) error {
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}
	if s.Name != versitygw.name() {
		_, err := s.admin.PutObject(ctx, in, writtenAt(at))
		return err
	}
	if _, err := s.admin.PutObject(ctx, in); err != nil {
		return err
	}
	return s.touch(bucket, key, at)
}

// touch sets the time of the file that versitygw keeps an object in.
func (s *Server) touch(bucket, key string, at time.Time) error {
	return os.Chtimes(filepath.Join(s.dir, bucket, filepath.FromSlash(key)), at, at)
}

// writtenAt is how MinIO takes the time: from a replicating peer, with the
// content.
func writtenAt(at time.Time) func(*s3.Options) {
	return s3.WithAPIOptions(
		smithyhttp.AddHeaderValue("X-Minio-Source-Replication-Request", "true"),
		smithyhttp.AddHeaderValue("X-Minio-Source-Mtime", at.UTC().Format(time.RFC3339Nano)),
	)
}

func seekable(t testing.TB, r io.Reader) io.ReadSeeker {
	t.Helper()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(content)
}

// Uploads returns how many uploads of a key in parts were begun and neither finished
// nor given up.
func (s *Server) Uploads(t testing.TB, bucket, key string) int {
	t.Helper()
	out, err := s.admin.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &key})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}
