package s3

import (
	"errors"
	"net/http"
	"strings"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// sendMD5 sends a request, and again with Content-MD5 if the server wants that: some do for batches
// to be deleted, and S3 for all that is put into a bucket with a default retention. From then on all
// such requests have it.
func (s *Store) sendMD5(send func(options ...func(*awss3.Options)) error) error {
	with := awss3.WithAPIOptions(smithyhttp.AddContentChecksumMiddleware)
	if s.wantsMD5.Load() {
		return send(with)
	}
	err := send()
	var api smithy.APIError
	if status(err) == http.StatusBadRequest && errors.As(err, &api) && strings.Contains(api.ErrorCode()+api.ErrorMessage(), "MD5") {
		s.wantsMD5.Store(true)
		return send(with)
	}
	return err
}
