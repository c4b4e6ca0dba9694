package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// certsDirs hold a folder for each registry, named as its host, with the
// authorities that podman or docker trust for it.
var certsDirs = []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}

// network is http as registries need it. An authority that somebody trusts for
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
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		ResponseHeaderTimeout: 10 * time.Minute, // a registry may move a large blob before it answers
	}
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

// guard refuses plain http beyond loopback and the hosts it is allowed with,
// wherever a request comes from: a redirect or a token service too.
type guard struct {
	inner    http.RoundTripper
	insecure map[string]bool // by host
}

// RoundTrip satisfies http.RoundTripper.
func (g guard) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !isLoopback(request.URL.Host) && !g.insecure[request.URL.Host] {
		return nil, errPlain
	}
	return g.inner.RoundTrip(request)
}
