package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// Bounds of what a server can do to its client.
const (
	maxRedirects = 10
	maxErrorBody = 1 << 20 // bytes
	idleTimeout  = 2 * time.Minute
)

// errIdle says that no byte of a body came for as long as a server may take.
var errIdle = errors.New("the server sends nothing any more")

// newHTTPClient returns the client that o names, with bounds. Certificates that AWS_CA_BUNDLE names
// are in c already.
func (o *Options) newHTTPClient(c aws.HTTPClient) aws.HTTPClient {
	if c == nil {
		c = awshttp.NewBuildableClient()
	}
	if b, ok := c.(*awshttp.BuildableClient); ok {
		t := b.GetTransport()
		t.ResponseHeaderTimeout = 2 * time.Minute // after the whole request; a batch delete takes a while
		t.MaxIdleConnsPerHost = 32
		t.ReadBufferSize = 64 << 10 // with 4 kB a decompressor makes a system call for every 4 kB
		c = &http.Client{Transport: t, CheckRedirect: redirect, Timeout: b.GetTimeout()}
	}
	idle := o.Idle
	if idle <= 0 {
		idle = idleTimeout
	}
	return &bounded{next: &counting{next: c, requests: o.Requests}, idle: idle}
}

// redirect follows what keeps the method, as the SDK does, and not for ever. Go itself takes the
// signature off where another host is asked; the session token is S3's own.
func redirect(req *http.Request, via []*http.Request) error {
	switch code := req.Response.StatusCode; {
	case code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect:
		return http.ErrUseLastResponse
	case len(via) >= maxRedirects:
		return fmt.Errorf("more than %d redirects, the last one to %q", maxRedirects, req.URL.Host)
	}
	if req.URL.Host != via[0].URL.Host {
		req.Header.Del("X-Amz-Security-Token")
	}
	return nil
}

// bounded is an HTTP client whose bodies end: one that brings nothing for too long is an error, and
// so is what does not fit where an error is expected.
type bounded struct {
	next aws.HTTPClient
	idle time.Duration
}

func (b *bounded) Do(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := b.next.Do(req.WithContext(ctx))
	if err != nil {
		cancel(err)
		return resp, err
	}
	body := &idleBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, left: -1,
		stall: ctxio.Stall{Limit: b.idle, Break: func() { cancel(errIdle) }}, idle: b.idle}
	if resp.StatusCode >= http.StatusMultipleChoices {
		body.left = maxErrorBody
	}
	resp.Body = body
	return resp, nil
}

// An idleBody breaks off when too little comes for too long.
type idleBody struct {
	io.ReadCloser
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	stall  ctxio.Stall
	idle   time.Duration
	left   int64 // bytes that may come yet; -1 is no limit
}

func (b *idleBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.stall.Read(b.ReadCloser, p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errIdle { // the very value
		err = fmt.Errorf("%w, for %v", errIdle, b.idle)
	}
	return n, err
}

func (b *idleBody) Close() error {
	b.cancel(nil)
	return b.ReadCloser.Close()
}
