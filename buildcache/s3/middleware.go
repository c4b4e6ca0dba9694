package s3

import (
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
func decodeWith(result any, decode func(body []byte) error) func(*awss3.Options) {
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
	decode func([]byte) error
}

func (d *decoder) ID() string { return d.sdk.ID() }

func (d *decoder) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, metadata, err := next.HandleDeserialize(ctx, in)
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil && ok && resp.StatusCode == http.StatusOK { // a step before this one looks for an error in the body
		resp.Body.Close()
		return out, metadata, &cutError{"a reply broke off", err}
	}
	if err != nil || !ok || resp.StatusCode != http.StatusOK {
		return d.sdk.HandleDeserialize(ctx, in, answered{out, metadata, err})
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, metadata, &cutError{fmt.Sprintf("a reply broke off after %d bytes", len(body)), err}
	}
	out.Result = d.result
	return out, metadata, d.decode(body)
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
