package s3test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"
)

// A PutFunc stores an object as if it had been written at a time, later or now.
type PutFunc func(key string, body []byte, at time.Time) error

// Fill stores the many small objects that fill puts, several times as fast as
// a request for each would: MinIO unpacks tarballs, and versitygw shows what
// is in its folder. Keys must be such that a file can have them.
func (s *Server) Fill(ctx context.Context, bucket string, fill func(PutFunc) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	f := &filler{Server: s, ctx: ctx, bucket: bucket, group: group}
	put := f.pack
	if s.Name == versitygw.name() {
		put = func(key string, body []byte, at time.Time) error {
			group.Go(func() error { return f.file(key, body, at) })
			return ctx.Err()
		}
	}
	err := fill(put)
	f.send()
	if failed := group.Wait(); failed != nil {
		return fmt.Errorf("fill bucket %s: %w", bucket, failed)
	}
	return err
}

// A filler is one call of Fill.
type filler struct {
	*Server
	ctx    context.Context // of one call
	bucket string
	group  *errgroup.Group
	batch  []object
}

type object struct {
	key  string
	body []byte
	at   time.Time
}

const (
	batchSize = 500
	small     = 1 << 20 // bytes; MinIO unpacks bigger ones one by one
)

// pack adds an object to the next tarball.
func (f *filler) pack(key string, body []byte, at time.Time) error {
	if len(body) > small {
		f.group.Go(func() error { return f.PutAt(f.ctx, f.bucket, key, body, at) })
		return f.ctx.Err()
	}
	if f.batch = append(f.batch, object{key, body, at}); len(f.batch) == batchSize {
		f.send()
	}
	return f.ctx.Err()
}

func (f *filler) send() {
	batch := f.batch
	f.batch = nil
	if len(batch) > 0 {
		f.group.Go(func() error { return f.unpacked(batch) })
	}
}

// unpacked has MinIO unpack a tarball.
func (f *filler) unpacked(batch []object) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, o := range batch {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: o.key, Mode: 0o644, Size: int64(len(o.body)), ModTime: o.at}); err != nil {
			return err
		}
		if _, err := w.Write(o.body); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	key := "objects.tar" // is not kept
	_, err := f.admin.PutObject(f.ctx, &s3.PutObjectInput{Bucket: &f.bucket, Key: &key, Body: bytes.NewReader(b.Bytes())},
		s3.WithAPIOptions(smithyhttp.AddHeaderValue("X-Amz-Meta-Snowball-Auto-Extract", "true")))
	return err
}

// file writes an object as versitygw does: a file with the ETag as attribute.
func (f *filler) file(key string, body []byte, at time.Time) error {
	name := filepath.Join(f.dir, f.bucket, filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, body, 0o644); err != nil {
		return err
	}
	sum := md5.Sum(body)
	err := setAttribute(name, "user.etag", []byte(`"`+hex.EncodeToString(sum[:])+`"`))
	if errors.Is(err, errors.ErrUnsupported) {
		return f.PutAt(f.ctx, f.bucket, key, body, at)
	}
	if err != nil {
		return err
	}
	return os.Chtimes(name, at, at)
}
