package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/ctxio"
)

// certsDirs hold a folder for each registry, named as its host, with the
// authorities that podman or docker trust for it.
var certsDirs = []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}

// network is http as registries need it. An authority that is trusted for
// one registry is trusted for that one only.
type network struct {
	dirs []string

	mu     sync.Mutex
	byHost map[string]*http.Transport
}

// RoundTrip satisfies http.RoundTripper.
func (n *network) RoundTrip(request *http.Request) (*http.Response, error) {
	return n.transport(request.URL.Host).RoundTrip(request)
}

func (n *network) transport(host string) *http.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byHost == nil {
		n.byHost = map[string]*http.Transport{}
	}
	if n.byHost[host] == nil {
		n.byHost[host] = newTransport(authorities(n.dirs, host))
	}
	return n.byHost[host]
}

func newTransport(trusted *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           dial,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		ResponseHeaderTimeout: 10 * time.Minute, // a registry may move a large blob before it answers
	}
}

// proxy is the environment's, but for this machine.
func proxy(request *http.Request) (*url.URL, error) {
	if isLoopback(request.URL.Host) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(request)
}

// dial connects. Names that end in .localhost are this machine by definition
// and trusted with plain http, so no server of names is asked for them.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isLocalhost(host) {
		return dialer.DialContext(ctx, network, address)
	}
	conn, err := dialer.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		if six, sixErr := dialer.DialContext(ctx, network, net.JoinHostPort("::1", port)); sixErr == nil {
			return six, nil
		}
	}
	return conn, err
}

// authorities are the system's and those put down for a host; nil, which
// stands for the system's, where there are no further ones.
func authorities(dirs []string, host string) *x509.CertPool {
	var files []string
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, host, "*.crt"))
		files = append(files, found...)
	}
	if len(files) == 0 {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			pool.AppendCertsFromPEM(text)
		}
	}
	return pool
}

// errPlain is the refusal to speak plain http.
var errPlain = errors.New("plain http is refused beyond this machine")

// maxRedirects is how often a request may be sent on.
const maxRedirects = 10

// DefaultIdle is how long a transfer may stand still.
const DefaultIdle = 2 * time.Minute

// guard refuses plain http beyond loopback and the hosts it is allowed with,
// wherever a request comes from: a redirect or a token service too. It bounds
// redirects, breaks off transfers that stand still, and keeps credentials from
// token services that have no business with them.
type guard struct {
	inner    http.RoundTripper
	insecure map[string]bool // by host
	keys     *keychain
	idle     time.Duration
}

// RoundTrip satisfies http.RoundTripper.
func (g *guard) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !isLoopback(request.URL.Host) && !g.insecure[request.URL.Host] {
		return nil, errPlain
	}
	redirects, first := 0, request
	for ; first.Response != nil && first.Response.Request != nil; first = first.Response.Request {
		if redirects++; redirects > maxRedirects {
			return nil, fmt.Errorf("%w: %d times, last to %s", errRedirects, maxRedirects, request.URL.Host)
		}
	}
	if isLoopback(request.URL.Host) && !isLoopback(first.URL.Host) {
		return nil, fmt.Errorf("%w: %s", errInward, first.URL.Host)
	}
	if err := g.keys.allow(request); err != nil {
		return nil, err
	}
	response, err := g.watched(request)
	if err == nil && response.StatusCode == http.StatusUnauthorized && !isLoopback(request.URL.Host) && realmIsHere(response.Header) {
		response.Body.Close()
		return nil, fmt.Errorf("%w: %s", errInward, request.URL.Host)
	}
	return response, err
}

// realmIsHere reports whether an answer names a token service of this machine.
func realmIsHere(header http.Header) bool {
	for _, challenge := range header.Values("WWW-Authenticate") {
		for _, found := range realm.FindAllStringSubmatch(challenge, -1) {
			if to, err := url.Parse(found[1]); err != nil || isLoopback(to.Host) {
				return true
			}
		}
	}
	return false
}

var realm = regexp.MustCompile(`(?i)realm="?([^",\s]*)`)

var (
	errInward    = errors.New("a registry elsewhere sends requests to this machine")
	errRedirects = errors.New("the request is sent on too often")
	errIdle      = errors.New("no byte has come or gone")
)

// watched sends a request and breaks it off when its body or that of the
// answer stands still for too long.
func (g *guard) watched(request *http.Request) (*http.Response, error) {
	idle := g.idle
	if idle == 0 {
		idle = DefaultIdle
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	timer := time.AfterFunc(idle, func() { cancel(fmt.Errorf("%w for %s", errIdle, idle)) })
	timer.Stop() // the transport has a limit of its own for the first byte of the answer
	sent := request.WithContext(ctx)
	if request.Body != nil && request.Body != http.NoBody {
		sent.Body = &outgoing{request.Body, timer, idle}
	}
	response, err := g.inner.RoundTrip(sent)
	timer.Stop()
	if err != nil {
		defer cancel(nil)
		return nil, idleOr(ctx, err)
	}
	response.Request = request
	response.Body = &incoming{ReadCloser: response.Body, ctx: ctx, cancel: cancel,
		stall: ctxio.Stall{Limit: idle, Break: func() { cancel(fmt.Errorf("%w for %s, or hardly any", errIdle, idle)) }}}
	return response, nil
}

// idleOr is the reason why a request was broken off, if it was, or else err.
func idleOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errIdle) {
		return cause
	}
	return err
}

// outgoing is a body that is sent: the network must ask for more in time.
type outgoing struct {
	io.ReadCloser
	timer *time.Timer
	idle  time.Duration
}

func (o *outgoing) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if err != nil {
		o.timer.Stop()
	} else {
		o.timer.Reset(o.idle)
	}
	return n, err
}

func (o *outgoing) Close() error {
	o.timer.Stop()
	return o.ReadCloser.Close()
}

// incoming is a body that is received: more must come in time when it is asked
// for.
type incoming struct {
	io.ReadCloser
	stall  ctxio.Stall
	ctx    context.Context // of this one request
	cancel context.CancelCauseFunc
}

func (i *incoming) Read(p []byte) (int, error) {
	n, err := i.stall.Read(i.ReadCloser, p)
	if err != nil && err != io.EOF { // readers return it as it is
		err = idleOr(i.ctx, err)
	}
	return n, err
}

func (i *incoming) Close() error {
	err := i.ReadCloser.Close()
	i.cancel(nil)
	return err
}
