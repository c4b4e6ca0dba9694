package podman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// An Engine builds containers with one podman, on base images that it has.
type Engine struct {
	Host    string // where podman is, for people
	Podman  Podman
	Builder BuiltBase
	Runtime BuiltBase
	Gateway *gateway.Gateway // of builds, to this machine
	Work    string           // a folder for what podman builds from; it stays, so that a failure can be looked into
	Tree    image.Tree       // where images go
	Watch   func(Event)      // is told how a build goes on; may be nil
	Now     func() time.Time
}

// Context is the folder that podman builds a container from.
func (e Engine) context(c Container) string {
	return filepath.Join(e.Work, c.Name, filepath.FromSlash(c.Platform))
}

// logBeside is where the build of a folder writes its log.
func logBeside(dir string) string { return dir + ".log" }

// logFile is that of a container's build. It goes beside the image when that is done.
func (e Engine) logFile(c Container) string { return logBeside(e.context(c)) }

// keepLog puts the log beside the image that it tells of, and returns its path relative to the
// record.
func (e Engine) keepLog(c Container) (string, error) {
	path := e.Tree.Dir(c.Name, c.Platform) + ".log"
	return filepath.Base(path), copyFile(e.logFile(c), path)
}

// Lock concretizes the environment of a container in the builder, and returns its lockfile.
func (e Engine) Lock(ctx context.Context, c Container) ([]byte, error) {
	var lock []byte
	dir := e.context(c) + ".lock"
	err := c.writeContext(dir, c.dockerfile(lockTemplate, e.Builder.ID, ""))
	if err == nil {
		err = e.podmanBuild(ctx, c, dir, "lock", nil)
	}
	if err == nil {
		lock, err = e.readLock(ctx, c)
	}
	if err != nil {
		return nil, fmt.Errorf("concretize %s for %s: %w", c.Name, c.Platform, err)
	}
	return lock, c.SetLock(lock)
}

// readLock takes the lockfile out of the image that is made of nothing else.
func (e Engine) readLock(ctx context.Context, c Container) ([]byte, error) {
	dir, err := os.MkdirTemp(e.Work, "lock-*.part")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := e.save(ctx, c.tag("lock"), dir); err != nil {
		return nil, err
	}
	return fileOf(dir, "spack.lock")
}

func (e Engine) save(ctx context.Context, tag, dir string) error {
	return e.Podman.save(func(w io.Writer) error {
		cmd := e.Podman.command("save", "--quiet", "--format=oci-archive", tag)
		cmd.Stdout = w
		return e.Podman.Run(ctx, cmd)
	}, dir)
}

// podmanBuild runs a build of a folder with its session of the gateway, and writes what both say to
// the log beside that.
func (e Engine) podmanBuild(ctx context.Context, c Container, dir, step string, labels []string) error {
	path := logBeside(dir)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	var out io.Writer
	offer := c.Offer
	offer.Lock, offer.Staging = c.LockText, e.Work
	offer.Note = func(note string) { fmt.Fprintln(out, "spacktainers:", note); e.tell(c, Event{Note: note}) }
	session, err := e.Gateway.Open(offer)
	if err != nil {
		return err
	}
	defer session.Close()
	redacted := command.Redact(&watcher{log: log, event: e.event(c, step)}, session.Secrets()...)
	defer redacted.Close()
	out = redacted
	return withSession(ctx, session, e.Podman.Gateway, func(ctx context.Context, args []string) error {
		cmd := c.buildCmd(e.Podman, dir, step, args, labels)
		fmt.Fprintln(log, "+", command.Quote(cmd.Args))
		cmd.Stdout, cmd.Stderr, cmd.Secrets = out, out, session.Secrets()
		return e.explain(ctx, c, dir, path, e.Podman.runBuild(ctx, cmd))
	})
}

// Build makes the image of a container, tries it, and puts it into the tree.
func (e Engine) Build(ctx context.Context, c Container) (image.Record, error) {
	runtime := container.Base{Name: Runtime, Digest: e.Runtime.Digest, Key: e.Runtime.Key}
	record := c.Describe(runtime)
	labels := c.ImageLabels(record, runtime, e.Now())
	return e.Tree.Create(c.Name, c.Platform, c.LockText, func(dir string) (image.Record, error) {
		context := e.context(c)
		if err := c.writeContext(context, c.dockerfile(containerTemplate, e.Builder.ID, e.Runtime.ID)); err != nil {
			return record, err
		}
		if err := e.podmanBuild(ctx, c, context, "install", labelArgs(labels)); err != nil {
			return record, err
		}
		if err := e.smoke(ctx, c); err != nil {
			return record, err
		}
		e.tell(c, Event{Step: stepSave})
		if err := e.save(ctx, c.tag("install"), dir); err != nil {
			return record, err
		}
		var err error
		if record.Digest, err = describeLayout(dir, record); err != nil {
			return record, err
		}
		record.Log, err = e.keepLog(c)
		return record, err
	})
}

// A HostError is a failure of the host that should have built, and not of what it built: another
// host may do better.
type HostError struct {
	Host string
	Err  error
}

func (e *HostError) Error() string { return "host " + e.Host + ": " + e.Err.Error() }

// Unwrap returns what the host said.
func (e *HostError) Unwrap() error { return e.Err }

// IsHostError reports whether another host may do better.
func IsHostError(err error) bool {
	var host *HostError
	return errors.As(err, &host)
}
