package s3

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// counting is an HTTP client that counts. It sits below the retries.
type counting struct {
	next     aws.HTTPClient
	requests *Requests
}

func (c *counting) Do(req *http.Request) (*http.Response, error) {
	c.requests.n[kindOf(req)].Add(1)
	if req.Body != nil && req.Body != http.NoBody {
		req = req.Clone(req.Context())
		req.Body = countedBody{req.Body, &c.requests.out}
	}
	resp, err := c.next.Do(req)
	if err == nil && resp.Body != nil {
		resp.Body = countedBody{resp.Body, &c.requests.in}
	}
	return resp, err
}

// kindOf goes by the HTTP request, so that nothing that the SDK sends on its
// own account escapes. What it does not know counts as a write.
func kindOf(req *http.Request) Kind {
	query := req.URL.Query()
	switch {
	case req.Method == http.MethodGet && (query.Has("list-type") || query.Has("uploads")):
		return List
	case req.Method == http.MethodGet:
		return Get
	case req.Method == http.MethodHead:
		return Head
	case req.Method == http.MethodDelete, req.Method == http.MethodPost && query.Has("delete"):
		return Delete
	case req.Header.Get("X-Amz-Copy-Source") != "":
		return Copy
	}
	return Put
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
