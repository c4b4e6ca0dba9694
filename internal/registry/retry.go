package registry

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// A Retry says how often a request is made before its failure counts, and how
// long to wait in between.
type Retry struct {
	Attempts int           // in all
	First    time.Duration // the first pause; each one is twice the one before
	Longest  time.Duration // no pause is longer, whatever a registry asks for
}

// DefaultRetry outlives a registry's restart: half a minute and more.
var DefaultRetry = Retry{Attempts: 6, First: time.Second, Longest: time.Minute}

// pause is how long to wait after a failed attempt, counted from 1. A little
// chance keeps parallel requests from coming back all at once.
func (p Retry) pause(attempt int) time.Duration {
	pause := min(p.First<<(attempt-1), p.Longest)
	return pause/2 + rand.N(pause/2+1)
}

// A retrier repeats requests that failed for now: broken connections, 5xx and
// 429. When a registry says how long to wait (Retry-After), all requests to it
// wait, not only the one that was told.
type retrier struct {
	Retry
	inner  http.RoundTripper
	notice func(string)

	mu        sync.Mutex
	notBefore map[string]time.Time // by host
	answered  map[string]bool      // hosts that have, once
}

// closedAttempts is how often a host is asked in all that has never answered and whose port is closed:
// one that has answered may be restarting, and this one is most likely not there.
const closedAttempts = 2

// RoundTrip satisfies http.RoundTripper.
func (p *retrier) RoundTrip(request *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		if err := p.waitFor(request); err != nil {
			return nil, err
		}
		response, err := p.inner.RoundTrip(request)
		again := p.again(request, response, err)
		if !again || attempt >= p.attempts(request.URL.Host, err) || !repeatable(request) {
			return response, err
		}
		p.notice(describeFailure(request, response, err) + ": trying again")
		if response != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
			response.Body.Close()
		}
		if err := ctxio.Sleep(request.Context(), p.pause(attempt)); err != nil {
			return nil, err
		}
		if request, err = renew(request); err != nil {
			return nil, err
		}
	}
}

// attempts is how often a request to a host is made in all, after it has failed like this.
func (p *retrier) attempts(host string, err error) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.answered[host] && errors.Is(err, syscall.ECONNREFUSED) {
		return min(p.Attempts, closedAttempts)
	}
	return p.Attempts
}

// again reports whether another attempt may go better, and takes note of the wait
// that a registry asks for.
func (p *retrier) again(request *http.Request, response *http.Response, err error) bool {
	if err != nil {
		return request.Context().Err() == nil && !hopeless(err)
	}
	p.mu.Lock()
	p.answered[request.URL.Host] = true
	p.mu.Unlock()
	if wait, ok := retryAfter(response, time.Now()); ok && isPassing(response.StatusCode) {
		p.mu.Lock()
		p.notBefore[request.URL.Host] = time.Now().Add(min(wait, p.Longest))
		p.mu.Unlock()
	}
	return isPassing(response.StatusCode)
}

func (p *retrier) waitFor(request *http.Request) error {
	p.mu.Lock()
	until := p.notBefore[request.URL.Host]
	p.mu.Unlock()
	return ctxio.Sleep(request.Context(), time.Until(until))
}

// isPassing reports whether a status may be gone in a moment. A full registry
// (507) is not.
func isPassing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, 522:
		return true
	}
	return false
}

// repeatable reports whether a request can be made again as it stands. The body
// of a PATCH is a blob's: a registry may have kept its beginning, so that only
// the whole upload can be repeated (see upload).
func repeatable(request *http.Request) bool {
	if request.Method == http.MethodPatch {
		return false
	}
	return request.Body == nil || request.Body == http.NoBody || request.GetBody != nil
}

func renew(request *http.Request) (*http.Request, error) {
	next := request.Clone(request.Context())
	if request.GetBody == nil {
		return next, nil
	}
	body, err := request.GetBody()
	next.Body = body
	return next, err
}

// retryAfter reads the header in both its forms, seconds and a date.
func retryAfter(response *http.Response, now time.Time) (time.Duration, bool) {
	text := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

func describeFailure(request *http.Request, response *http.Response, err error) string {
	if err != nil {
		return request.URL.Host + ": " + err.Error()
	}
	return request.URL.Host + " answers " + response.Status
}
