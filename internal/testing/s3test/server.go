// Package s3test runs real S3 servers for tests, on loopback and random
// ports, with their data in temporary folders.
package s3test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/openbraininstitute/spacktainers/internal/testing/size"
)

// RequireTools is the environment variable that makes a missing server a
// failure instead of a skipped test.
const RequireTools = "SPACKTAINERS_REQUIRE_TOOLS"

// A Server is an S3 server that runs until its test ends. It wants path-style
// URLs, in any region.
type Server struct {
	Name      string // minio or versitygw
	Endpoint  string // URL
	AccessKey string // of the user who may do everything
	SecretKey string

	admin   *s3.Client
	dir     string // the data
	process *os.Process
	ended   <-chan error
	log     *bytes.Buffer // whole when the process has ended
}

// All returns one of each.
func All(t testing.TB) []*Server { return []*Server{MinIO(t), Versitygw(t)} }

// MinIO starts a MinIO.
func MinIO(t testing.TB) *Server { return start(t, minio) }

// Versitygw starts a Versity S3 gateway in front of a folder.
func Versitygw(t testing.TB) *Server { return start(t, versitygw) }

// start starts a server, or skips or fails the test aloud.
func start(t testing.TB, program tool) *Server {
	t.Helper()
	size.Need(t, size.All)
	s, err := Start(program.name(), t.TempDir())
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && os.Getenv(RequireTools) != "1":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("%s says:\n%s", s.Name, s.log.String())
		}
	})
	return s
}

// Start starts a server, minio or versitygw, that keeps its data below a
// folder, for programs that are no tests. It runs until Stop, or until this
// process ends. A program that is not built yet is fs.ErrNotExist.
func Start(name, dir string) (*Server, error) {
	i := slices.IndexFunc(tools, func(t tool) bool { return t.name() == name })
	if i < 0 {
		return nil, fmt.Errorf("no server %q: there are minio and versitygw", name)
	}
	binary, err := tools[i].find()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, AccessKey: "spacktainers", SecretKey: "not-a-secret-at-all", dir: filepath.Join(dir, "data")}
	for _, dir := range []string{s.dir, filepath.Join(dir, "home"), filepath.Join(dir, "versions")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	for attempt := 1; ; attempt++ {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		args, env, health := s.argv(address, filepath.Join(dir, "versions"))
		cmd := exec.Command(binary, args...)
		cmd.Env = append([]string{"HOME=" + filepath.Join(dir, "home"), "PATH=" + os.Getenv("PATH")}, env...)
		if err := s.launch(cmd, "http://"+address, health); err == nil {
			return s, nil
		} else if attempt == 3 { // another process may take the port
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
	}
}

// argv is how the program is called, and where it says that it is ready.
func (s *Server) argv(address, versions string) (args, env []string, health string) {
	if s.Name == versitygw.name() {
		return []string{"--access", s.AccessKey, "--secret", s.SecretKey, "--port", address, "--health", "/health", "--quiet", "posix", "--versioning-dir", versions, s.dir}, nil, "/health"
	}
	return []string{"server", "--quiet", "--address", address, s.dir},
		[]string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "CI=true"},
		"/minio/health/ready"
}

// launch runs the program until it is ready.
func (s *Server) launch(cmd *exec.Cmd, endpoint, health string) error {
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	started, ended := run(cmd)
	if err := <-started; err != nil {
		return err
	}
	timeout := time.After(time.Minute)
	for {
		if resp, err := http.Get(endpoint + health); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		select {
		case err := <-ended:
			return fmt.Errorf("%v: %s", err, log.String())
		case <-timeout:
			_ = cmd.Process.Kill()
			return fmt.Errorf("not ready after a minute: %w: %s", <-ended, log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.process, s.ended, s.log = cmd.Process, ended, log
	s.Endpoint = endpoint
	s.admin = s.client()
	return nil
}

// Stop ends the server.
func (s *Server) Stop() {
	_ = s.process.Kill()
	<-s.ended
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
