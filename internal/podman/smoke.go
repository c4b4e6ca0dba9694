package podman

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/ctxio"
	"github.com/openbraininstitute/spacktainers/internal/views"
)

//go:embed smoke.sh
var smokeScript string

// smokeWords come out of an entrypoint as they went in, if it keeps quoting.
var smokeWords = []string{`print("a b")`, "$HOME", "", "it's"}

// smokeCmd runs the finished container once, for all tests: starting one is what takes time.
func (c Container) smokeCmd(p Podman) command.Cmd {
	args := []string{"run", "--rm", "--network=none", "--platform=" + c.Platform, c.tag("install"), "sh", "-c", smokeScript, "sh"}
	return p.command(slices.Concat(args, smokeWords, []string{c.view()}, c.Test)...)
}

// view is the default view that the container must have; empty where it has none, or nothing to
// show in it.
func (c Container) view() string {
	root, ok := views.DefaultRoot(c.Spack, path.Dir(runtimePrograms))
	built := func(hash buildcache.Hash) bool { return !c.Lock.Specs[hash].External }
	if !ok || c.Lock != nil && !slices.ContainsFunc(c.Roots, built) {
		return ""
	}
	return root
}

// kill removes a container whose podman was interrupted: its first process need not heed that.
func (p Podman) kill(ctx context.Context, name string) {
	ctx, cancel := ctxio.CleanUp(ctx, time.Minute)
	defer cancel()
	cmd := p.command("rm", "--force", "--ignore", "--time=0", name)
	cmd.Stdout, cmd.Stderr = discard{}, discard{}
	_ = p.Run(ctx, cmd) // it is there as long as its process, and may have ended
}

// smoke tries the finished container. Where none can be started, it says so in the log and lets the
// image pass.
func (e Engine) smoke(ctx context.Context, c Container) error {
	e.tell(c, Event{Step: stepTest})
	log, err := os.OpenFile(e.logFile(c), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	if e.Podman.Chroot {
		_, err := fmt.Fprintln(log, "spacktainers: not tested: no container can be started here")
		return err
	}
	var said strings.Builder
	out := command.Redact(io.MultiWriter(log, &said)) // one writer for both streams, which locks
	defer out.Close()
	cmd := c.smokeCmd(e.Podman)
	cmd.Stdout, cmd.Stderr = out, out
	name := "spacktainers-test-" + strings.ToLower(rand.Text())
	cmd.Args = slices.Insert(cmd.Args, slices.Index(cmd.Args, "run")+1, "--name="+name)
	if err := e.Podman.Run(ctx, cmd); err != nil {
		if ctx.Err() != nil {
			e.Podman.kill(ctx, name)
			return err
		}
		return fmt.Errorf("the finished container does not pass its test:\n\t%s", strings.ReplaceAll(strings.TrimSpace(said.String()), "\n", "\n\t"))
	}
	return nil
}
