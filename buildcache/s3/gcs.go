package s3

import (
	"context"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const acceptEncoding = "Accept-Encoding"

// leaveUnsigned takes Accept-Encoding out of what is signed, and puts it back behind that. Google's
// servers change it on the way, and then refuse the signature.
func leaveUnsigned(stack *middleware.Stack) error {
	if _, ok := stack.Finalize.Get("Signing"); !ok {
		return nil
	}
	var value string
	header := func(in middleware.FinalizeInput, f func(*smithyhttp.Request)) {
		if req, ok := in.Request.(*smithyhttp.Request); ok {
			f(req)
		}
	}
	before := middleware.FinalizeMiddlewareFunc("HideAcceptEncoding", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		header(in, func(req *smithyhttp.Request) {
			if v := req.Header.Get(acceptEncoding); v != "" { // a retry has it taken off already
				value = v
			}
			req.Header.Del(acceptEncoding)
		})
		return next.HandleFinalize(ctx, in)
	})
	after := middleware.FinalizeMiddlewareFunc("ShowAcceptEncoding", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		header(in, func(req *smithyhttp.Request) {
			if value != "" {
				req.Header.Set(acceptEncoding, value)
			}
		})
		return next.HandleFinalize(ctx, in)
	})
	if err := stack.Finalize.Insert(before, "Signing", middleware.Before); err != nil {
		return err
	}
	return stack.Finalize.Insert(after, "Signing", middleware.After)
}
