package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// An operation is what was being done, and the permission that it takes.
type operation struct{ verb, permission string }

var (
	opList       = operation{"list", "s3:ListBucket"}
	opGet        = operation{"get", "s3:GetObject"}
	opStat       = operation{"look at", "s3:GetObject"}
	opPut        = operation{"put", "s3:PutObject"}
	opPutIf      = operation{"put under a condition", "s3:PutObject"}
	opDelete     = operation{"delete", "s3:DeleteObject"}
	opCopy       = operation{"copy", "s3:GetObject and s3:PutObject"}
	opVersioning = operation{"ask for versioning", "s3:GetBucketVersioning"}
	opVersions   = operation{"list versions", "s3:ListBucketVersions"}

	opDeleteVersion = operation{"delete a version of", "s3:DeleteObjectVersion"}
)

// An Error is what a request came to in the end. Its text says what to do.
type Error struct {
	Store     string // URL
	Op        string // list, get, …
	Key       string // or prefix; "" is the store itself
	Code      string // what S3 calls it, such as AccessDenied; "" if no server answered
	Status    int    // HTTP status; 0 if no server answered
	RequestID string // for the server's operator; may be ""

	reason string
	cause  error // nil, or what callers may look for
}

func (e *Error) Error() string {
	text := e.Store + ": " + e.Op
	if e.Key != "" {
		text += " " + e.Key
	}
	text += ": " + e.reason
	switch {
	case e.Code != "" && e.RequestID != "":
		text += " (" + e.Code + ", request " + e.RequestID + ")"
	case e.Code != "":
		text += " (" + e.Code + ")"
	case e.RequestID != "":
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Unwrap returns fs.ErrNotExist, buildcache.ErrChanged, errors.ErrUnsupported,
// an error of a context, or nothing.
func (e *Error) Unwrap() error { return e.cause }

// explain turns an error of the SDK, which is a paragraph, into a sentence.
func (s *Store) explain(op operation, key string, err error) error {
	e := &Error{Store: s.String(), Op: op.verb, Key: key}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) {
		e.Status, e.RequestID = resp.HTTPStatusCode(), resp.RequestID
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code = api.ErrorCode()
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			e.cause, e.reason = cause, cause.Error()
			return e
		}
	}
	e.cause = s.cause(op, e)
	e.reason = s.reason(op, e, err)
	var tried *retry.MaxAttemptsError
	if errors.As(err, &tried) {
		e.reason += fmt.Sprintf(", %d times", tried.Attempt)
	}
	return e
}

// cause is what callers branch on.
func (s *Store) cause(op operation, e *Error) error {
	switch e.Code {
	case "NoSuchKey", "NotFound", "NoSuchVersion":
		if op == opGet || op == opStat || op == opCopy {
			return fs.ErrNotExist
		}
		if op == opPutIf { // IfMatch of an object that is gone
			return buildcache.ErrChanged
		}
	case "PreconditionFailed", "ConditionalRequestConflict":
		return buildcache.ErrChanged
	case "NotImplemented", "InvalidArgument", "InvalidRequest", "NotSupported", "UnsupportedHeader":
		if op == opPutIf && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotImplemented) {
			return errors.ErrUnsupported
		}
	}
	return nil
}

func (s *Store) reason(op operation, e *Error, err error) string {
	switch {
	case e.cause == errors.ErrUnsupported: // the very value
		return remark(e, err)
	case e.cause != nil:
		return e.cause.Error()
	case e.Code == "NoSuchBucket":
		return fmt.Sprintf("there is no bucket %q on %s", s.bucket, s.endpoint())
	case e.Code == "InvalidAccessKeyId", e.Code == "XAdminUserNotFound": // the latter is versitygw's
		return "the server does not know the access key of " + s.keys() + ": a temporary key needs its session token, and a bucket that everybody may read needs none (anonymous: true)"
	case e.Code == "SignatureDoesNotMatch":
		return "the secret key does not belong to the access key of " + s.keys()
	case e.Code == "ExpiredToken", e.Code == "InvalidToken":
		return s.keys() + " have expired, were revoked, or lack their session token: get new ones"
	case e.Code == "RequestTimeTooSkewed":
		return "the clock of this machine" + skew(err) + ": set it"
	case e.Code == "PermanentRedirect", e.Code == "AuthorizationHeaderMalformed", e.Status == http.StatusMovedPermanently:
		return s.elsewhere(err)
	case e.Code == "InvalidObjectState":
		return "the object is archived, and must be restored before it can be read: " + remark(e, err)
	case e.Status == http.StatusForbidden || e.Code == "AccessDenied":
		return s.denied(op, message(err))
	case e.Status != 0:
		return remark(e, err)
	}
	return s.unanswered(err)
}

// denied says who needs which permission, and what the server says if that is more than that access
// is denied.
func (s *Store) denied(op operation, said string) string {
	text := fmt.Sprintf("access denied: %s need %s", s.keys(), op.permission)
	if s.anonymous {
		text = fmt.Sprintf("access denied: everybody would need %s, as no credentials are used", op.permission)
	}
	if bare := strings.ToLower(strings.Trim(said, ". ")); bare != "" && bare != "access denied" && bare != "forbidden" {
		text += "; the server answers " + plain(said)
	}
	return text
}

// message is what the server itself says, or "".
func message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorMessage() != api.ErrorCode() {
		return api.ErrorMessage()
	}
	return ""
}

// plain makes one short line of a server's text.
func plain(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.TrimSuffix(text, "."), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if short := []rune(text); len(short) > 200 {
		text = string(short[:200]) + "…"
	}
	return text
}

// remark is what the server itself says.
func remark(e *Error, err error) string {
	var cut *cutError
	if errors.As(err, &cut) {
		return cut.Error()
	}
	text := fmt.Sprintf("the server answers %d", e.Status)
	if said := message(err); said != "" {
		text += ", " + plain(said)
	}
	return text
}

// unanswered is why there was no reply at all.
func (s *Store) unanswered(err error) string {
	var signing *smithy.OperationError
	text := err.Error()
	if errors.As(err, &signing) {
		text = signing.Err.Error()
	}
	var dns *net.DNSError
	var dial *net.OpError
	var transport *url.Error
	switch {
	case strings.Contains(text, "get credentials") || strings.Contains(text, "get identity"):
		return "no credentials found: set " + s.variable() + ", or log in as the AWS command line does"
	case errors.As(err, &dns):
		return fmt.Sprintf("no such host as %q: check the endpoint and the region", dns.Name)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Sprintf("cannot reach %s: %v", s.endpoint(), dial.Err)
	case errors.As(err, &transport):
		return fmt.Sprintf("%s: %v", s.endpoint(), transport.Err)
	}
	return text
}

// elsewhere says in which region the bucket is.
func (s *Store) elsewhere(err error) string {
	region := header(err, "X-Amz-Bucket-Region")
	if region == "" {
		region = "another region"
	}
	return fmt.Sprintf("the bucket is in %s, not %s: set the region", region, s.client.Options().Region)
}

// skew says how wrong the clock is, by the Date of the reply.
func skew(err error) string {
	at, bad := http.ParseTime(header(err, "Date"))
	if bad != nil {
		return " is wrong"
	}
	off := time.Since(at).Round(time.Second)
	if off < 0 {
		return fmt.Sprintf(" is %v slow", -off)
	}
	return fmt.Sprintf(" is %v fast", off)
}

func header(err error, name string) string {
	var resp *awshttp.ResponseError
	if !errors.As(err, &resp) || resp.Response == nil {
		return ""
	}
	return resp.Response.Header.Get(name)
}

func status(err error) int {
	var resp interface{ HTTPStatusCode() int }
	if !errors.As(err, &resp) {
		return 0
	}
	return resp.HTTPStatusCode()
}

func (s *Store) endpoint() string {
	if e := s.client.Options().BaseEndpoint; e != nil {
		return *e
	}
	return "AWS, region " + s.client.Options().Region
}

// keys names the credentials in use.
func (s *Store) keys() string {
	if s.keysFrom == "" {
		return "the credentials"
	}
	return "the credentials of " + s.keysFrom
}

func (s *Store) variable() string {
	if s.keysFrom == "" {
		return "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	}
	return s.keysFrom
}
