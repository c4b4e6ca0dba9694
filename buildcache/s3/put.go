package s3

import (
	"context"
	"fmt"
	"io"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Sizes in bytes. An object goes in parts from multipartFrom on, and one that
// must not take the place of another already from conditionalFrom on: a server
// that refuses it as a whole breaks the connection while the body is on its way,
// and its answer is lost. Parts are joined by a small request.
const (
	partSize        = 64 << 20 // at least
	multipartFrom   = 128 << 20
	conditionalFrom = 256 << 10
	maxParts        = 10_000
)

// Put stores an object, a big one in parts. It leaves no parts behind, unless
// the abort fails as well, which the error then says.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, opts buildcache.PutOptions) (string, error) {
	if key == "" || opts.IfMatch != "" && opts.IfNoneMatch {
		return "", fmt.Errorf("%s: put %q: want a key, and one condition at most", s, key)
	}
	if size > multipartFrom || size > conditionalFrom && opts.Condition != (buildcache.Condition{}) {
		return s.putParts(ctx, key, body, size, opts)
	}
	in := &awss3.PutObjectInput{
		Bucket:        &s.bucket,
		Key:           ref(s.prefix + key),
		ContentLength: &size,
		ContentType:   optional(opts.ContentType),
		CacheControl:  optional(opts.CacheControl),
		Metadata:      opts.Metadata,
		IfMatch:       ifMatch(opts.Condition),
		IfNoneMatch:   ifNoneMatch(opts.Condition),
	}
	var out *awss3.PutObjectOutput
	err := s.sendMD5(func(options ...func(*awss3.Options)) (err error) {
		in.Body = &exactly{io.NewSectionReader(body, 0, size)}
		out, err = s.client.PutObject(ctx, in, options...)
		return err
	})
	if err != nil {
		return "", s.explain(putting(opts.Condition), key, err)
	}
	return unquote(deref(out.ETag)), nil
}

func putting(c buildcache.Condition) operation {
	if c != (buildcache.Condition{}) {
		return opPutIf
	}
	return opPut
}

// exactly is a section that may not end early: the body is shorter than size.
type exactly struct{ *io.SectionReader }

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.SectionReader.Read(p)
	if at, _ := e.Seek(0, io.SeekCurrent); err == io.EOF && at < e.Size() { // as io.Reader says
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func ifMatch(c buildcache.Condition) *string {
	if c.IfMatch == "" {
		return nil
	}
	return ref(quote(c.IfMatch))
}

func ifNoneMatch(c buildcache.Condition) *string {
	if !c.IfNoneMatch {
		return nil
	}
	return ref("*")
}
