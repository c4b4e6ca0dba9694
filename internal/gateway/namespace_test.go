package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

func TestAddressesOfThisMachineAndOfItsCloudAreRefused(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "169.254.170.2", "224.0.0.1", "168.63.129.16", "100.100.100.200",
		"::1", "::", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "::ffff:127.0.0.1", "fd00:ec2::254", "64:ff9b::a9fe:a9fe", "ff02::1",
	} {
		if err := refuseInner("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 80).String(), nil); !errors.Is(err, errInner) {
			t.Errorf("%s: got %v", address, err)
		}
	}
	for _, address := range []string{"198.51.100.1", "10.9.8.7", "2001:db8::1"} {
		if err := refuseInner("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), nil); err != nil {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestTheProxyPassesRequestsOnAndJoinsConnections(t *testing.T) {
	source := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "source of ", r.URL.Path) }))
	defer source.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain ", r.URL.Path) }))
	defer plain.Close()
	var d net.Dialer
	server := httptest.NewServer(&proxy{d.DialContext, &http.Transport{DialContext: d.DialContext}})
	defer server.Close()
	client := source.Client()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(mustParse(t, server.URL))
	for url, want := range map[string]string{source.URL + "/x.tar.gz": "source of /x.tar.gz", plain.URL + "/y": "plain /y"} {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		_, err = text.ReadFrom(response.Body)
		response.Body.Close()
		if err != nil || text.String() != want {
			t.Errorf("got %q, %v, want %q", text.String(), err, want)
		}
	}
	guarded := httptest.NewServer(newProxy())
	defer guarded.Close()
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(mustParse(t, guarded.URL))
	client.CloseIdleConnections()
	if response, err := client.Get(plain.URL); err != nil || response.StatusCode != 502 {
		t.Errorf("this machine is reached: %v", err)
	}
	if response, err := client.Get(source.URL); err == nil {
		t.Errorf("this machine is reached: %v", response.Status)
	}
}

// A command in the namespace sees the gateway, and neither this machine's services nor any route.
func TestACommandInTheNamespaceSeesTheGatewayOnly(t *testing.T) {
	g, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	n, err := g.Isolate()
	if err != nil {
		if errors.Is(err, ErrNotIsolated) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	s, err := g.Open(Build{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a service of this machine") }))
	defer service.Close()
	_, port, _ := net.SplitHostPort(n.Addr())
	_, hostPort, _ := net.SplitHostPort(strings.TrimPrefix(service.URL, "http://"))
	script := `cat /proc/net/route /proc/net/ipv6_route; echo; tail -n +3 /proc/net/dev; echo proxy "$https_proxy"
reach() { exec 3<>/dev/tcp/127.0.0.1/$1 || return; printf 'GET /` + s.token + `/ HTTP/1.0\r\n\r\n' >&3; cat <&3; }
reach ` + port + `; (reach ` + hostPort + `) 2>&1`
	run := func(run command.Runner) string {
		out, err := command.Output(context.Background(), run, command.Cmd{Args: []string{"bash", "-c", script}})
		if err != nil {
			out += err.Error()
		}
		return out
	}
	out := run(n.Runner(command.Exec(nil)))
	for _, want := range []string{`{"mirror":false,"push":false,"git":[]}`, "Connection refused", "proxy http://127.0.0.1:"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	network, _, _ := strings.Cut(out, "proxy")
	for line := range strings.Lines(network) {
		if fields := strings.Fields(line); len(fields) > 7 && fields[0] != "Iface" && fields[len(fields)-1] != "lo" && fields[0] != "lo:" {
			t.Errorf("a route or device: %s", line)
		}
	}
	if strings.Contains(out, "a service of this machine") {
		t.Errorf("a service of this machine is reached:\n%s", out)
	}
	if out := run(command.Exec(nil)); strings.Contains(out, `"mirror"`) {
		t.Error("this process is in the namespace, too")
	}
}
