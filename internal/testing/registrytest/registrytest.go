// Package registrytest starts registries for tests: Debian's docker-registry,
// plain or with passwords and TLS, and go-containerregistry's own behind a
// proxy that can be told to fail. Only tests import it.
package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/crypto/bcrypt"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// A Server is a running registry.
type Server struct {
	Host   string // 127.0.0.1:PORT
	CAFile string // the authority that its certificate is from; empty for plain http
	Dir    string // where docker-registry keeps its data
	PID    int    // of docker-registry
}

// Options of docker-registry.
type Options struct {
	User, Password string // asked for, unless both are empty
	TLS            bool   // with a certificate of an authority of its own
}

// Debian starts Debian's docker-registry and ends it with the test. It takes
// deletions.
func Debian(t testing.TB, o Options) Server {
	t.Helper()
	size.Need(t, size.All)
	program := tooltest.Need(t, "docker-registry")
	dir := t.TempDir()
	s := Server{Host: freeAddress(t), Dir: filepath.Join(dir, "data")}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp:\n  addr: %s\n  secret: test\n", s.Dir, s.Host)
	client := http.DefaultClient
	scheme := "http"
	if o.TLS {
		scheme = "https"
		cert, key := s.certify(t, dir)
		config += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", cert, key)
		client = trusting(t, s.CAFile)
	}
	if o.User+o.Password != "" {
		hashed, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		check(t, err)
		passwords := filepath.Join(dir, "htpasswd")
		check(t, os.WriteFile(passwords, []byte(o.User+":"+string(hashed)+"\n"), 0o600))
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", passwords)
	}
	path := filepath.Join(dir, "config.yml")
	check(t, os.WriteFile(path, []byte(config), 0o600))
	cmd := exec.Command(program, "serve", path)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	// docker-registry takes REGISTRY_AUTH_FILE, which is podman's, for a setting of its own.
	cmd.Env = slices.DeleteFunc(cmd.Environ(), func(v string) bool { return strings.HasPrefix(v, "REGISTRY_") })
	check(t, cmd.Start())
	s.PID = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && output.Len() > 0 {
			t.Logf("docker-registry:\n%.4000s", output.String())
		}
	})
	for range 200 {
		response, err := client.Get(scheme + "://" + s.Host + "/v2/")
		if err == nil {
			response.Body.Close()
			return s
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not answer:\n%s", output.String())
	return s
}

// Memory starts go-containerregistry's registry, which keeps all in memory. wrap
// may put a handler around it that fails now and then; it may be nil.
func Memory(t testing.TB, wrap func(http.Handler) http.Handler, options ...registry.Option) Server {
	t.Helper()
	handler := registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...)
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Server{Host: strings.TrimPrefix(server.URL, "http://")}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// certify makes an authority and a certificate for 127.0.0.1 by it.
func (s *Server) certify(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registrytest"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(t, err)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &own.PublicKey, caKey)
	check(t, err)
	ownDER, err := x509.MarshalECPrivateKey(own)
	check(t, err)
	s.CAFile, cert, key = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	check(t, os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	check(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ownDER}), 0o600))
	return cert, key
}

func trusting(t testing.TB, caFile string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(caFile)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
