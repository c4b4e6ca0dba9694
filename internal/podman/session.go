package podman

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/gateway"
)

// sessionFile is the name of what podman shows to the install step as a secret: the URL of its
// session with the gateway. Podman leaves a copy on its disk when it is killed. By then the session
// is over, and the URL worth nothing.
const sessionFile = "gateway"

// tidyTime is how long podman may tidy up after its step has ended, before it is told to end itself.
// Mage gives us five seconds for everything.
const tidyTime = time.Second

// withSession hands podman's argument for a session to do. When ctx ends, the step ends first,
// since it is connected to the session, and do has a while to end by itself before its own context
// does: a podman whose step fails tidies up, an interrupted one leaves its step at work.
func withSession(ctx context.Context, s *gateway.Session, addr string, do func(ctx context.Context, args []string) error) error {
	dir, err := os.MkdirTemp("", "spacktainers-session-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, sessionFile)
	if err := os.WriteFile(file, []byte(s.URL(addr)+"\n"), 0o600); err != nil {
		return err
	}
	doing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.End()
		time.AfterFunc(tidyTime, cancel)
	})()
	if err := do(doing, []string{"--secret=id=" + sessionFile + ",src=" + file}); err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	return nil
}
