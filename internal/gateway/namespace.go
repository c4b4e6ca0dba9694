package gateway

import (
	"errors"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// ErrNotIsolated is why builds share this machine's network.
var ErrNotIsolated = errors.New("not isolated")

// A Namespace is a network of its own for builds on this machine: in it are the gateway and a
// proxy, and nothing else. So a build reaches neither this machine's services nor its link-local
// network, where a cloud hands out its credentials.
type Namespace struct {
	fd    int // of the namespace
	addr  string
	proxy string
}

// Addr is where builds in the namespace find the gateway: HOST:PORT.
func (n *Namespace) Addr() string { return n.addr }

// Env tells programs in the namespace of the proxy.
func (n *Namespace) Env() []string {
	var env []string
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY"} {
		env = append(env, name+"=http://"+n.proxy)
	}
	return append(env, "no_proxy=127.0.0.1,localhost", "NO_PROXY=127.0.0.1,localhost")
}

// Runner runs commands in the namespace.
func (n *Namespace) Runner(run command.Runner) command.Runner { return n.runner(run) }
