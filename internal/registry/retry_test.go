package registry_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/openbraininstitute/spacktainers/internal/registry"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A registry that has answered may be restarting; behind a port that was closed from the first is
// mostly none, and a build that goes on without it should not wait for half a minute.
func TestAClosedPortIsNotAskedForLong(t *testing.T) {
	for what, c := range map[string]struct {
		wasOpen bool
		want    int
	}{"never open": {false, 2}, "closed meanwhile": {true, 6}} {
		asked, open := 0, c.wasOpen
		client, err := registry.NewClient(registry.Options{Retry: registry.Retry{Attempts: 6, First: time.Millisecond, Longest: time.Millisecond},
			Transport: transport(func(r *http.Request) (*http.Response, error) {
				if open {
					return httptest.NewRecorder().Result(), nil
				}
				asked++
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
			})})
		if err != nil {
			t.Fatal(err)
		}
		repository, err := name.NewRepository("registry.example/org/tool")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = client.Head(t.Context(), repository.Tag("latest"))
		open, asked = false, 0
		if _, err = client.Head(t.Context(), repository.Tag("latest")); err == nil || asked != c.want {
			t.Errorf("%s: asked %d times, want %d: %v", what, asked, c.want, err)
		}
	}
}
