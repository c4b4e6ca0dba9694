package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A proxy is the way out of a network namespace that has no other: an HTTP proxy, which connects
// builds to the sources that they fetch, but neither to this machine nor to what machines of a
// cloud learn their credentials from.
type proxy struct {
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	transport http.RoundTripper
}

// newProxy makes a proxy that connects directly.
func newProxy() *proxy {
	dialer := &net.Dialer{Timeout: 30 * time.Second, Control: refuseInner}
	return &proxy{dialer.DialContext, &http.Transport{DialContext: dialer.DialContext, IdleConnTimeout: time.Minute, DisableCompression: true}}
}

var errInner = errors.New("builds are kept from this machine's own addresses and from link-local ones")

// metadata are the addresses of metadata services that are not link-local: of AWS by IPv6, Azure,
// Alibaba, and Oracle.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("192.0.0.192"),
}

// refuseInner looks at an address that is about to be connected to: names have been resolved by
// then, so none leads astray.
func refuseInner(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := to.Addr().Unmap().WithZone(""); !outer(ip) {
		return errInner
	}
	return nil
}

func outer(ip netip.Addr) bool {
	nat64 := netip.MustParsePrefix("64:ff9b::/96")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return !ip.IsLoopback() && !ip.IsUnspecified() && !ip.IsMulticast() && !ip.IsLinkLocalUnicast() && !slices.Contains(metadata, ip) && !isOwn(ip)
}

// isOwn reports whether an address is one of this machine's.
func isOwn(ip netip.Addr) bool {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == ip
	})
}

// ServeHTTP passes a request on, or for CONNECT joins two connections.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.IsAbs() && r.URL.Scheme == "http":
		p.forward(w, r)
	default:
		http.Error(w, "this is a proxy", http.StatusBadRequest)
	}
}

func (p *proxy) forward(w http.ResponseWriter, r *http.Request) {
	out := r.Clone(r.Context())
	out.RequestURI = ""
	for _, name := range []string{"Proxy-Connection", "Proxy-Authorization", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade"} {
		out.Header.Del(name)
	}
	response, err := p.transport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.Header().Del("Connection")
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body) // one of the two is gone
}

func (p *proxy) connect(w http.ResponseWriter, r *http.Request) {
	to, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	if _, err := io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	join(from, buffered, to)
}

// join copies both ways until both ends have said all that they had to.
func join(from net.Conn, buffered io.Reader, to net.Conn) {
	var both sync.WaitGroup
	for _, way := range []struct {
		w net.Conn
		r io.Reader
	}{{to, buffered}, {from, to}} {
		both.Go(func() {
			_, err := io.Copy(way.w, way.r)
			if half, ok := way.w.(interface{ CloseWrite() error }); ok && err == nil {
				_ = half.CloseWrite()
			} else {
				from.Close()
				to.Close()
			}
		})
	}
	both.Wait()
}
