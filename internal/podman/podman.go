// Package podman makes base images and containers with podman, here or on another host.
//
// What podman is told is decided by functions without side effects, so every command line can be
// tested without it. A build gets no credentials at all: it has a session of the gateway instead
// (package gateway). What a build leaves is an image layout with its record (package image); a
// build that breaks off leaves none.
package podman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
)

// A Podman is podman on this machine, or through its socket that of another one.
type Podman struct {
	Run    command.Runner
	Env    []string // what podman needs on this machine to work at all
	URL    string   // of another machine's podman: unix:///path/of/socket
	Home   *Podman  // of this machine, where that is another one
	Chroot bool     // build steps run in a chroot: where no container can be started

	Builds string // a folder in which builds that last are written down; empty: nowhere

	// Owner says who else may have made a working container at some time; nil asks this machine.
	Owner func(created time.Time) string

	Gateway   string             // where build steps find the gateway: HOST:PORT, as they see it
	Namespace *gateway.Namespace // the network that build steps are in; nil: that of podman's machine
}

// command is one of podman, which needs none of our secrets: registries' logins are in its own file.
func (p Podman) command(args ...string) command.Cmd {
	argv := []string{"podman"}
	if p.URL != "" {
		argv = append(argv, "--url="+p.URL)
	}
	if p.Chroot {
		argv = append(argv, "--runtime=/bin/false") // podman does nothing at all where it finds no runtime; it will start none
	}
	return command.Cmd{Args: append(argv, args...), Env: p.Env, Apart: true, Clean: true}
}

// runBuild runs a command that runs what definitions and recipes say.
func (p Podman) runBuild(ctx context.Context, c command.Cmd) error {
	run := p.Run
	if p.Namespace != nil {
		run = p.Namespace.Runner(p.Run)
	}
	return p.recorded(ctx, func() error { return run(ctx, c) })
}

// pull fetches an image that podman does not have yet, since a build in a network of its own
// cannot.
func (p Podman) pull(ctx context.Context, ref, platform string) error {
	if p.Namespace == nil || !strings.ContainsAny(ref, ":/") {
		return nil
	}
	if found, err := p.inspect(ctx, ref, ""); err != nil || found.ID != "" {
		return err
	}
	return p.Run(ctx, p.command("pull", "--quiet", "--platform="+platform, "--", ref))
}

// An ID is a local image, pinned: the digest of its configuration, in hex.
type ID string

// An inspected image is what podman knows of it.
type inspected struct {
	ID     ID
	Digest string // of the manifest
	Label  string // the one that was asked for
}

// inspect returns what podman knows of a local image; an empty ID where there is none.
func (p Podman) inspect(ctx context.Context, ref, label string) (inspected, error) {
	format := fmt.Sprintf(`{{.Id}} {{.Digest}} {{index .Labels %q}}`, label)
	c := p.command("image", "inspect", "--format="+format, ref)
	c.Stderr = discard{}
	text, err := command.Output(ctx, p.Run, c)
	var failed *command.Error
	switch {
	case errors.As(err, &failed) && strings.Contains(failed.Tail, "not known"):
		return inspected{}, nil
	case err != nil:
		return inspected{}, err
	}
	found := inspected{}
	fields := strings.SplitN(text, " ", 3)
	for i, to := range []*string{(*string)(&found.ID), &found.Digest, &found.Label} {
		if i < len(fields) {
			*to = fields[i]
		}
	}
	return found, nil
}

// bring copies an image that only this machine has, which is named by its ID, to the other machine.
func (p Podman) bring(ctx context.Context, id string) error {
	if p.Home == nil || strings.ContainsAny(id, ":/") {
		return nil
	}
	if found, err := p.inspect(ctx, id, ""); err != nil || found.ID != "" {
		return err
	}
	from, to := io.Pipe()
	saved := make(chan error, 1)
	go func() {
		c := p.Home.command("save", "--quiet", "--format=docker-archive", id)
		c.Stdout = to
		err := p.Home.Run(ctx, c)
		to.CloseWithError(err)
		saved <- err
	}()
	c := p.command("load", "--quiet")
	c.Stdin = from
	err := p.Run(ctx, c)
	from.CloseWithError(err) // the other podman must not wait for a reader that is gone
	return errors.Join(err, <-saved)
}

// ping asks whether podman answers. Where it does not, a failure is the host's and not the build's.
func (p Podman) ping(ctx context.Context) error {
	c := p.command("version", "--format={{.Client.Version}}")
	if p.URL != "" {
		c = p.command("version", "--format={{.Server.Version}}")
	}
	c.Stdout, c.Stderr = discard{}, discard{}
	return p.Run(ctx, c)
}

// A discard keeps output that an error repeats out of the log.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
