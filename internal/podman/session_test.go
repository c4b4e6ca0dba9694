package podman

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/gateway"
)

// Podman that is interrupted leaves its step at work. So the step ends first, which podman tidies
// up after.
func TestAStepEndsBeforePodmanIsInterrupted(t *testing.T) {
	g, err := gateway.New()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	s, err := g.Open(gateway.Build{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	err = withSession(ctx, s, g.Addr(), func(ctx context.Context, args []string) error {
		text, err := os.ReadFile(strings.TrimPrefix(args[0], "--secret=id=gateway,src="))
		if err != nil {
			t.Fatal(err)
		}
		alive, err := http.Get(strings.TrimSpace(string(text)) + "/alive")
		if err != nil || alive.StatusCode != http.StatusOK {
			t.Fatal(alive, err)
		}
		defer alive.Body.Close()
		cancel()
		if n, err := alive.Body.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the step is not told: %d, %v", n, err)
		}
		if ctx.Err() != nil {
			t.Error("podman is interrupted at once")
		}
		<-ctx.Done() // it does not end by itself
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
