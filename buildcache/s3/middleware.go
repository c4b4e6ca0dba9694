package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// decodeWith has a successful reply decoded by decode instead of the SDK,
// whose decoder takes an empty body for an empty result, and a page of a
// listing for 55 000 allocations. Replies that are errors stay with the SDK.
// decode must keep nothing of the reply, whose memory is used again.
func decodeWith(result any, decode func(*reply) error) func(*awss3.Options) {
	return awss3.WithAPIOptions(func(stack *middleware.Stack) error {
		const step = "OperationDeserializer"
		sdk, ok := stack.Deserialize.Get(step)
		if !ok {
			return fmt.Errorf("the SDK has no %s", step)
		}
		_, err := stack.Deserialize.Swap(step, &decoder{sdk, result, decode})
		return err
	})
}

type decoder struct {
	sdk    middleware.DeserializeMiddleware
	result any // of the type that the operation returns; stays empty
	decode func(*reply) error
}

func (d *decoder) ID() string { return d.sdk.ID() }

func (d *decoder) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil && ok && resp.StatusCode == http.StatusOK { // a step before this one looks for an error in the body
		resp.Body.Close()
		return out, metadata, &cutError{what: "a reply broke off", err: err}
	}
	if err != nil || !ok || resp.StatusCode != http.StatusOK {
		return d.sdk.HandleDeserialize(ctx, in, answered{out, metadata, err})
	}
	defer resp.Body.Close()
	r := newReply()
	defer r.done()
	if err := r.read(resp.Body, resp.ContentLength); err != nil {
		return out, metadata, &cutError{what: fmt.Sprintf("a reply broke off after %d bytes", r.body.Len()), err: err}
	}
	out.Result = d.result
	return out, metadata, d.decode(r)
}

// A reply is one that is being read. Pages are so big, and so many, that their
// memory is used again.
type reply struct {
	body bytes.Buffer
	raw  rawPage // of a listing, room for it
}

// replies are those that are not in use. A sync.Pool would forget them every
// few pages where garbage is collected often.
var replies = make(chan *reply, inFlight)

// biggest is how many bytes a reply has room for from the outset. 1000 keys of
// the greatest length that is allowed need no more, unless they are escaped.
const biggest = 2 << 20

// maxReply is how long a reply may be, in bytes: a page has 1000 keys at most.
const maxReply = 32 << 20

func newReply() *reply {
	select {
	case r := <-replies:
		return r
	default:
		return new(reply)
	}
}

// done lets others use the memory.
func (r *reply) done() {
	if r.body.Cap() > 2*biggest {
		return
	}
	r.body.Reset()
	select {
	case replies <- r:
	default:
	}
}

// read takes all of a body; length is what the server says of it, or -1.
func (r *reply) read(body io.Reader, length int64) error {
	if 0 < length && length <= biggest {
		r.body.Grow(int(length) + bytes.MinRead) // so that the end is seen without more room
	}
	n, err := r.body.ReadFrom(io.LimitReader(body, maxReply+1))
	if err == nil && n > maxReply {
		err = fmt.Errorf("it is longer than %d MiB", maxReply>>20)
	}
	return err
}

// answered hands on a reply that is already here.
type answered struct {
	out      middleware.DeserializeOutput
	metadata middleware.Metadata
	err      error
}

func (a answered) HandleDeserialize(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
	return a.out, a.metadata, a.err
}
