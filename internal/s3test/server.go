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
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
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

	admin *s3.Client
	dir   string // the data
}

// All returns one of each.
func All(t testing.TB) []*Server { return []*Server{MinIO(t), Versitygw(t)} }

// MinIO starts a MinIO.
func MinIO(t testing.TB) *Server {
	t.Helper()
	return start(t, minio, "/minio/health/ready", func(s *Server, address string) (args, env []string) {
		return []string{"server", "--quiet", "--address", address, s.dir},
			[]string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "CI=true"}
	})
}

// Versitygw starts a Versity S3 gateway in front of a folder.
func Versitygw(t testing.TB) *Server {
	t.Helper()
	versions := t.TempDir()
	return start(t, versitygw, "/health", func(s *Server, address string) (args, env []string) {
		return []string{"--access", s.AccessKey, "--secret", s.SecretKey, "--port", address, "--health", "/health", "--quiet", "posix", "--versioning-dir", versions, s.dir}, nil
	})
}

func start(t testing.TB, program tool, health string, argv func(s *Server, address string) (args, env []string)) *Server {
	t.Helper()
	binary := find(t, program)
	for attempt := 1; ; attempt++ {
		s := &Server{Name: program.name(), AccessKey: "spacktainers", SecretKey: "not-a-secret-at-all", dir: t.TempDir()}
		address := freeAddress(t)
		args, env := argv(s, address)
		cmd := exec.Command(binary, args...)
		cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
		err := s.launch(t, cmd, "http://"+address, health)
		if err == nil {
			return s
		}
		if attempt == 3 { // somebody else may take the port
			t.Fatalf("start %s: %v", s.Name, err)
		}
	}
}

func (s *Server) launch(t testing.TB, cmd *exec.Cmd, endpoint, health string) error {
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
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
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s says:\n%s", s.Name, log.String())
		}
	})
	s.Endpoint = endpoint
	s.admin = s.client()
	return nil
}

// find returns the program, or skips or fails the test aloud.
func find(t testing.TB, program tool) string {
	t.Helper()
	binary, err := program.binary()
	if err == nil {
		_, err = os.Stat(binary)
	}
	if err == nil {
		return binary
	}
	text := fmt.Sprintf("needs %s: run go run ./internal/s3test/cmd/s3servers", program.name())
	if os.Getenv(RequireTools) == "1" || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s (%v)", text, err)
	}
	t.Skip(text)
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
