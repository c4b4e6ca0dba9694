package targets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	memory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/assemble"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/definition"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/registry"
	"github.com/openbraininstitute/spacktainers/internal/sif"
	"github.com/openbraininstitute/spacktainers/internal/ui"
	"github.com/openbraininstitute/spacktainers/janitor"
	"github.com/openbraininstitute/spacktainers/janitor/rootset"
)

// What the quickstart works on: a definition of its own, and a small build
// cache that Spack 1.2 made, with the public key that signed it.
const (
	quickstartFolder    = "testdata/quickstart"
	quickstartContainer = "hello-spack"
	quickstartMirror    = "testdata/spack/v3-signed/cache"
	quickstartKey       = "testdata/spack/v2-signed/cache/build_cache/_pgp/DE7BBCF5545ABA42FEE4EC9D27CA373DAC003224.pub"
)

// Quickstart goes the whole way once, at small scale: a container definition
// and a Spack build cache become a published container. It needs Go alone.
func Quickstart(ctx context.Context) (err error) {
	defer finish(ctx, &err)
	a, err := start()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, quickstartFolder)); err != nil {
		return wrongCall("quickstart is for a clone of the project itself, which has the build cache that it works on: here, begin with mage containers:build")
	}
	t := tour{app: a}
	defer t.close()
	for _, step := range []step{
		{"check", "the container definitions", t.check},
		{"assemble", "an image from the build cache", t.assemble},
		{"publish", "to a registry on loopback", t.publish},
		{"verify", "every byte, pulled back", t.verify},
		{"run", "the container with podman", t.run},
		{"sif", "the container as one file", t.sif},
		{"tidy", "what the build cache would lose", t.tidy},
	} {
		if err := t.take(ctx, step); err != nil {
			return fmt.Errorf("quickstart: %s: %w", step.name, err)
		}
	}
	if err := a.Table([]string{"step", "what", "took", "result"}, t.rows); err != nil {
		return err
	}
	next := `
Next:
  mage -l                                  what else there is
  mage containers:list                     the containers defined here
  mage doctor                              what this machine has, and what more it could do`
	if _, err := command.LookPath("skopeo"); err == nil {
		next += "\n  skopeo inspect oci:" + t.layout()
	}
	return a.Text(next)
}

// A step is one line of the quickstart's table.
type step struct {
	name, what string
	do         func(context.Context) (result string, err error)
}

// A tour is a run of the quickstart: each step finds what the last one left.
type tour struct {
	*app
	rows      [][]string
	container definition.Definition
	built     assemble.Result
	registry  *http.Server
	ref       string
}

func (t *tour) take(ctx context.Context, s step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	began := time.Now()
	result, err := s.do(ctx)
	t.rows = append(t.rows, []string{s.name, s.what, ui.Took(time.Since(began)), result})
	return err
}

func (t *tour) close() {
	if t.registry != nil {
		t.registry.Close()
	}
}

func (t *tour) layout() string { return images.Dir(t.built.Name, t.built.Platform) }

func (t *tour) check(context.Context) (string, error) {
	defs, err := definition.Load(root)
	if err != nil {
		return "", err
	}
	if t.container, err = quickstartDefinition(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d definitions are valid", len(defs)+1), nil
}

func quickstartDefinition() (definition.Definition, error) {
	defs, err := definition.Load(filepath.Join(root, quickstartFolder))
	if err != nil {
		return definition.Definition{}, err
	}
	found, err := definition.Find(defs, quickstartContainer)
	if err != nil {
		return definition.Definition{}, err
	}
	return found[0], nil
}

func (t *tour) assemble(ctx context.Context) (string, error) {
	var err error
	t.built, err = t.app.assemble(ctx, t.container, assembleOptions{
		mirror: filepath.Join(root, quickstartMirror), key: filepath.Join(root, quickstartKey), base: assemble.Scratch,
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d packages in %d layers, %s, signatures verified", len(t.built.Packages), t.built.Layers, ui.Size(t.built.Size)), nil
}

// publish starts a registry of its own, which lives as long as the tour.
func (t *tour) publish(ctx context.Context) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	t.registry = &http.Server{Handler: memory.New(memory.Logger(log.New(io.Discard, "", 0)))}
	go t.registry.Serve(listener)
	img, err := images.Open(t.built.Record)
	if err != nil {
		return "", err
	}
	t.ref = fmt.Sprintf("%s/spacktainers/%s:%s", listener.Addr(), t.built.Name, t.built.Version)
	ref, client, err := t.published()
	if err != nil {
		return "", err
	}
	return t.ref, client.PushImage(ctx, ref, img)
}

func (t *tour) verify(ctx context.Context) (string, error) {
	ref, client, err := t.published()
	if err != nil {
		return "", err
	}
	verified, err := publish.Verify(ctx, client, ref, nil)
	if err == nil && verified.Digest != t.built.Digest {
		err = fmt.Errorf("%s names %s, and %s was published", t.ref, verified.Digest, t.built.Digest)
	}
	return short(verified.Digest), err
}

// published is where the tour publishes, and what speaks with that registry.
func (t *tour) published() (name.Reference, *registry.Client, error) {
	ref, err := name.ParseReference(t.ref)
	if err != nil {
		return nil, nil, err
	}
	client, err := registry.NewClient(registry.Options{})
	return ref, client, err
}

func short(digest v1.Hash) string {
	return digest.Algorithm + ":" + digest.Hex[:min(12, len(digest.Hex))]
}

// run shows the container at work where podman is; without it, the tour is
// complete all the same.
func (t *tour) run(ctx context.Context) (string, error) {
	if _, err := command.LookPath("podman"); err != nil {
		return "left out: no podman here", nil
	}
	env, err := machine(t.app).PodmanEnv()
	if err != nil {
		return "", err
	}
	said, err := command.Output(ctx, command.Exec(io.Discard), command.Cmd{
		Args: []string{"podman", "run", "--rm", "--network=none", "oci:" + t.layout(), quickstartContainer},
		Env:  env, Clean: true,
	})
	if err != nil {
		if ctx.Err() != nil {
			return "", errors.Join(ctx.Err(), err)
		}
		t.Log.Warn("podman did not run the container: see mage doctor", "error", lastLine(err.Error()))
		return "podman is here, but does not run it", nil
	}
	return fmt.Sprintf("it says %q", strings.Split(said, "\n")[0]), nil
}

// sif makes the file that sites with apptainer run, where a program for that
// is; it needs no apptainer itself.
func (t *tour) sif(ctx context.Context) (string, error) {
	engine, err := sif.NewNative()
	if err != nil {
		return "left out: no tar2sqfs or mksquashfs here", nil
	}
	b := sif.Builder{Folder: sifs, Run: command.Exec(io.Discard), Engine: engine, Compression: sif.Zstd}
	record, _, err := b.Build(ctx, images, t.built.Record, "")
	return fmt.Sprintf("%s, %s", sifs.Path(record.File), ui.Size(record.Size)), err
}

// tidy plans what may go from the build cache if nothing but this container
// must stay. It only reads.
func (t *tour) tidy(ctx context.Context) (string, error) {
	locks, err := readLocks([]string{filepath.Join(t.container.Root, t.container.LockPath)})
	if err != nil {
		return "", err
	}
	cache, _, err := t.openStore(ctx, filepath.Join(root, quickstartMirror))
	if err != nil {
		return "", err
	}
	j := janitor.Janitor{Store: cache, Policy: janitor.Policy{MaxFraction: 1, Wait: 24 * time.Hour},
		Roots: func(context.Context) (rootset.Roots, error) { return rootset.Roots{Locks: locks}, nil }}
	plan, err := j.Plan(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s specs would be condemned, %s; nothing deleted", of(plan.Room.Specs, plan.Before.Specs), ui.Size(plan.Room.Bytes)), nil
}

// lastLine is where a program says what went wrong.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
