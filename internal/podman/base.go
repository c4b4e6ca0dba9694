package podman

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/git"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// The base images. Each has a folder of its name with a Dockerfile.
const (
	Builder      = "builder"
	Runtime      = "runtime"
	Singularitah = "singularitah"
)

// Bases lists the base images in the order in which they are built.
var Bases = []string{Builder, Runtime, Singularitah}

// A Base is a base image to build for a platform.
type Base struct {
	Name     string
	Platform string
	Files    fs.FS       // its Dockerfile and what that copies
	From     string      // the image below: a reference, or debootstrap:SUITE
	Pull     Pull        // asks the registry of From; needed where that is a tag
	Packages []string    // Debian packages; nil: what the Dockerfile says
	Spack    *Source     // of the builder
	Repos    []Source    // of package repositories, the last one wins; of the builder
	Watch    func(Event) // is told how a build goes on; may be nil

	// Published returns what a registry has for the build key, which is taken instead of building it;
	// nil where it has nothing. The function may be nil.
	Published func(ctx context.Context, b Base, key string) (v1.Image, error)
}

// Tag is the name of the base image in podman's storage.
func (b Base) Tag() string {
	return "localhost/spacktainers/" + b.Name + ":" + strings.ReplaceAll(b.Platform, "/", "-")
}

// pin replaces what lies below by what cannot change, where it can be known. Registry and
// repositories are asked at once, and the error names each that does not answer.
func (b Base) pin(ctx context.Context, p Podman) (Base, error) {
	var group sync.WaitGroup
	var imageErr error
	var errs []error
	group.Go(func() { b.From, imageErr = pinImage(ctx, p, b.Pull, b.From, b.Platform) })
	if b.Spack != nil {
		spack := *b.Spack
		b.Spack, b.Repos = &spack, slices.Clone(b.Repos)
		sources := []*Source{b.Spack}
		for i := range b.Repos {
			sources = append(sources, &b.Repos[i])
		}
		errs = make([]error, len(sources))
		for i, source := range sources {
			group.Go(func() { *source, errs[i] = source.Pin(ctx, p.Run) })
		}
	}
	group.Wait()
	return b, errors.Join(append([]error{imageErr}, errs...)...)
}

// inputs lists everything that decides what the base image is, once it is pinned.
func (b Base) inputs() ([]image.Input, error) {
	inputs := []image.Input{
		{Kind: "platform", Digest: b.Platform},
		{Kind: "base", Digest: b.From},
	}
	if b.Packages != nil {
		inputs = append(inputs, image.Input{Kind: "packages", Digest: strings.Join(b.Packages, " ")})
	}
	if b.Spack != nil {
		inputs = append(inputs, image.Input{Kind: "spack", Digest: b.Spack.Commit})
	}
	for i, r := range b.Repos {
		inputs = append(inputs, image.Input{Kind: "repository", Name: fmt.Sprintf("%03d", i), Digest: r.commitAndPaths()})
	}
	files, err := b.fileInputs()
	return append(inputs, files...), err
}

// fileInputs lists the files, hidden ones too: path, whether it is a program, and content.
func (b Base) fileInputs() ([]image.Input, error) {
	var inputs []image.Input
	err := b.walk(func(name string, mode fs.FileMode, content []byte) error {
		inputs = append(inputs, image.Input{Kind: "file", Name: b.Name + "/" + name, Digest: mode.String() + " " + hexSum(content)})
		return nil
	})
	return inputs, err
}

// copyFiles writes the files to a folder.
func (b Base) copyFiles(dir string) error {
	return b.walk(func(name string, mode fs.FileMode, content []byte) error {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, content, mode); err != nil {
			return err
		}
		return os.Chmod(to, mode) // whatever the umask is
	})
}

// embedding is the Go file that brings a folder into the program. It is no part of the image.
const embedding = "embed.go"

// walk hands each file to do, with its mode as git keeps it. Files in a program have no modes: what
// starts like a script is one.
func (b Base) walk(do func(name string, mode fs.FileMode, content []byte) error) error {
	return fs.WalkDir(b.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || name == embedding {
			return err
		}
		info, err := fs.Stat(b.Files, name)
		if err != nil {
			return err
		}
		content, err := fs.ReadFile(b.Files, name)
		if err != nil {
			return err
		}
		mode := fileMode(info)
		if bytes.HasPrefix(content, []byte("#!")) {
			mode = 0o755
		}
		return do(name, mode, content)
	})
}

// fileMode is a file's mode as git keeps it: the rest depends on who checked out.
func fileMode(info fs.FileInfo) fs.FileMode {
	if info.Mode()&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// buildCmd builds the base image from a folder. Only docker's format keeps the ONBUILD lines.
func (b Base) buildCmd(p Podman, context, key, inputs string, native bool) command.Cmd {
	args := []string{
		"build", "--format=docker", "--network=host", "--platform=" + b.Platform,
		"--build-arg=BASE=" + below(b.From, b.Platform),
		"--label=" + image.LabelBuildKey + "=" + key,
		"--label=" + image.LabelInputs + "=" + inputs,
		"--label=org.opencontainers.image.title=" + b.Name,
		"--tag=" + b.Tag(),
	}
	if native {
		args = append(args, "--tag=localhost/"+b.Name) // FROM builder, in a user's own Dockerfile
	}
	if p.Chroot {
		args = append(args, "--isolation=chroot")
	}
	if p.Namespace != nil {
		args = append(args, "--pull=never")
	}
	if b.Packages != nil {
		args = append(args, "--build-arg=PACKAGES="+strings.Join(b.Packages, " "))
	}
	for i, s := range b.sources() {
		args = append(args, fmt.Sprintf("--label=%s.%d=%s@%s", labelSource, i, cmp.Or(git.PublicURL(s.URL), "local"), s.Commit))
	}
	return p.command(append(args, context)...)
}

const labelSource = "org.openbraininstitute.spacktainers.source"

func (b Base) sources() []Source {
	if b.Spack == nil {
		return nil
	}
	return append([]Source{*b.Spack}, b.Repos...)
}

// Pin replaces whatever may change by what it is now, and says under which build key the base image
// is to be had then.
func (b Base) Pin(ctx context.Context, p Podman) (Base, string, error) {
	pinned, err := b.pin(ctx, p)
	if err != nil {
		return b, "", b.fails(err)
	}
	key, err := pinned.key()
	return pinned, key, err
}

func (b Base) key() (string, error) {
	inputs, err := b.inputs()
	return image.BuildKey(inputs), err
}

// make collects what the base image is built from in a folder of its own, and builds.
func (b Base) make(ctx context.Context, p Podman, work, key string, native, force bool) error {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	if suite, ok := strings.CutPrefix(b.From, debootstrap); ok {
		b.tell(Event{Step: stepBootstrap})
		if err := b.bootstrap(ctx, p, suite, work, force); err != nil {
			return err
		}
	} else if err := errors.Join(p.bring(ctx, b.From), p.pull(ctx, b.From, b.Platform)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(work, b.Name+"-*.part")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.copyFiles(dir); err != nil {
		return err
	}
	if b.Spack != nil {
		b.tell(Event{Step: stepSources})
	}
	if err := b.fetchSources(ctx, p.Run, dir); err != nil {
		return err
	}
	inputs, err := b.inputs()
	if err != nil {
		return err
	}
	c := b.buildCmd(p, dir, key, container.InputsLabel(inputs), native)
	if force {
		c.Args = slices.Insert(c.Args, slices.Index(c.Args, "build")+1, "--no-cache")
	}
	return logged(ctx, p.runBuild, c, filepath.Join(work, b.Name+"-"+strings.ReplaceAll(b.Platform, "/", "-")+".log"), b.baseEvent())
}

// logged runs a command, with all that is said in a log, of which an error has the end, and each line
// shown to event.
func logged(ctx context.Context, run command.Runner, c command.Cmd, path string, event func(line string)) error {
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintln(log, "+", command.Quote(c.Args))
	out := command.Redact(&watcher{log: log, event: event})
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	if err := run(ctx, c); err != nil {
		return fmt.Errorf("%w\nall of it: %s", err, path)
	}
	return nil
}

// fetchSources puts Spack below spack, each repository below repos/NUMBER, and beside those a list
// of the package repositories in them, in order.
func (b Base) fetchSources(ctx context.Context, run command.Runner, dir string) error {
	if b.Spack == nil {
		return nil
	}
	if err := b.Spack.fetch(ctx, run, filepath.Join(dir, "spack")); err != nil {
		return err
	}
	var order strings.Builder
	for i, r := range b.Repos {
		home := fmt.Sprint(i)
		if err := r.fetch(ctx, run, filepath.Join(dir, "repos", home)); err != nil {
			return err
		}
		for _, path := range r.Paths {
			fmt.Fprintf(&order, "%s/%s\n", home, path)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "repos"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "repos", "order"), []byte(order.String()), 0o644)
}
