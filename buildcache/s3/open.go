package s3

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/openbraininstitute/spacktainers/buildcache"
)

// Options say how to reach a bucket. The zero value is AWS with the standard
// chain of credentials and regions.
type Options struct {
	Endpoint  string // URL of the server; "" is AWS, or what AWS_ENDPOINT_URL says
	Region    string // "" is what the standard chain says, else us-east-1
	PathStyle bool   // http://host/bucket instead of http://bucket.host

	Anonymous   bool                    // sign nothing: a bucket that everybody may read
	Credentials aws.CredentialsProvider // nil is the standard chain
	KeysFrom    string                  // where Credentials are from, as errors should say it: AWS_CACHE_ACCESS_KEY_ID

	MaxAttempts int           // of each request; 0 is 8
	MaxBackoff  time.Duration // longest pause between two of them; 0 is 20 s
	Idle        time.Duration // how long a body may bring nothing; 0 is 2 min

	Requests   *Requests      // counts here, with what other stores have counted; nil is a counter of its own
	HTTPClient aws.HTTPClient // nil is the SDK's
}

// Keys returns credentials that stay as they are. Temporary ones come with a session token, others
// have "".
func Keys(id, secret, token string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, secret, token)
}

// Open returns the store at s3://bucket/prefix. It sends no request: a bucket
// that is missing or closed is the error of the first call.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	at, err := buildcache.ParseLocation(url, "")
	if err != nil {
		return nil, err
	}
	if !at.IsBucket() {
		return nil, fmt.Errorf("build cache %q: want s3://bucket or s3://bucket/prefix", url)
	}
	prefix := at.Prefix
	if prefix != "" {
		prefix += "/"
	}
	if opts.MaxAttempts <= 0 {
		opts.MaxAttempts = 8
	}
	if opts.MaxBackoff <= 0 {
		opts.MaxBackoff = retry.DefaultMaxBackoff
	}
	if opts.Requests == nil {
		opts.Requests = new(Requests)
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts.load)
	if err != nil {
		return nil, fmt.Errorf("%s: AWS configuration: %w", url, err)
	}
	return &Store{
		client:    awss3.NewFromConfig(cfg, opts.client),
		requests:  opts.Requests,
		attempts:  opts.MaxAttempts,
		backoff:   backoff(opts.MaxBackoff),
		keysFrom:  opts.KeysFrom,
		anonymous: opts.Anonymous,
		bucket:    at.Bucket,
		prefix:    prefix,
	}, nil
}

// load is the part of the options that the standard chains must know.
func (o *Options) load(l *config.LoadOptions) error {
	l.Region = o.Region
	l.DefaultRegion = "us-east-1"
	l.Logger = logging.Nop{}
	if o.Anonymous {
		l.Credentials = aws.AnonymousCredentials{}
	} else if o.Credentials != nil {
		l.Credentials = o.Credentials
	}
	return nil
}

// client is the part of the options that is S3's own. The HTTP client is
// wrapped only here, so that AWS_CA_BUNDLE and the like still reach it.
func (o *Options) client(c *awss3.Options) {
	if o.Endpoint != "" {
		c.BaseEndpoint = &o.Endpoint
	}
	c.UsePathStyle = o.PathStyle
	// Not every server knows the newer checksums; content is checked by those
	// that Spack records.
	c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	c.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	c.Retryer = o.retryer()
	if o.HTTPClient != nil {
		c.HTTPClient = o.HTTPClient
	}
	c.HTTPClient = o.newHTTPClient(c.HTTPClient)
	c.APIOptions = append(c.APIOptions, leaveUnsigned)
}

// retryer repeats what failed for a moment, and slows all requests down when
// the server says that it is too much. Only attempts limit it: a quota over
// the whole run would end a long one half way.
func (o *Options) retryer() aws.Retryer {
	return retry.NewAdaptiveMode(func(a *retry.AdaptiveModeOptions) {
		a.Throttles = append(a.Throttles, retry.IsErrorThrottleFunc(func(err error) aws.Ternary {
			return aws.BoolTernary(status(err) == http.StatusTooManyRequests)
		}))
		a.StandardOptions = append(a.StandardOptions, func(s *retry.StandardOptions) {
			s.MaxAttempts = o.MaxAttempts
			s.MaxBackoff = o.MaxBackoff
			s.Backoff = backoff(o.MaxBackoff)
			s.RateLimiter = ratelimit.None
			s.Retryables = append(s.Retryables, retry.RetryableHTTPStatusCode{
				Codes: map[int]struct{}{http.StatusTooManyRequests: {}},
			})
		})
	})
}
