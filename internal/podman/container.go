package podman

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// version is what this package makes of its inputs. It goes up whenever the same inputs give another image.
const version = "podman-1"

// A Container says what to build, for one platform.
type Container struct {
	Name     string
	Platform string
	Target   string        // the microarchitecture that SpackYAML asks for
	Spack    []byte        // the spack.yaml, with our template below it
	Lock     []byte        // the spack.lock to install; nil where it is still to be made
	Inputs   []image.Input // of the definition: its files
	Files    []File
	Env      map[string]string
	Labels   map[string]string
	Epilogue []byte
	Strip    bool
	Test     []string // commands that must succeed in the finished container
	Revision string   // the commit of the repository that defines it
	Origin   string   // the URL of that repository
	Mirror   Mirror
	Anew     bool // without what podman remembers of earlier builds

	FirstRoot func(roots []string) (int, error) // which root names the container's version
}

// A File is copied into the container.
type File struct {
	Source string // a file or folder on this machine
	Target string // absolute, in the container
}

// A Mirror is a Spack build cache that packages come from, and go to as soon as they are built.
type Mirror struct {
	URL      string
	Endpoint string // of an S3 that is not Amazon's
	Push     bool
}

// folder is the mirror's path on this machine, empty if it is elsewhere.
func (m Mirror) folder() string {
	if path, ok := strings.CutPrefix(m.URL, "file://"); ok {
		return path
	}
	if strings.Contains(m.URL, "://") {
		return ""
	}
	return m.URL
}

// mountedMirror is where a build step sees a mirror that is a folder of ours.
const mountedMirror = "/mnt/mirror"

func (m Mirror) args() ([]string, error) {
	if m.URL == "" {
		return nil, nil
	}
	args := []string{"--build-arg=MIRROR=" + m.URL}
	if folder := m.folder(); folder != "" {
		abs, err := filepath.Abs(folder)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(abs); err != nil {
			return nil, fmt.Errorf("mirror: %w", err)
		}
		args = []string{"--build-arg=MIRROR=file://" + mountedMirror, "--volume=" + abs + ":" + mountedMirror}
	}
	if m.Endpoint != "" {
		args = append(args, "--build-arg=MIRROR_ENDPOINT="+m.Endpoint)
	}
	if m.Push {
		args = append(args, "--build-arg=MIRROR_PUSH=true")
	}
	return args, nil
}

// seenFrom says why a host can use no mirror that is a folder of this machine, and what to do about it.
func (m Mirror) seenFrom(host, platform string) error {
	if m.folder() == "" || host == Local || host == Emulate {
		return nil
	}
	return &HostError{Host: host, Err: fmt.Errorf("it does not see the mirror %s, which is a folder of this machine: "+
		"give it one that it can reach (mirror of %s in spacktainers.yaml, or --mirror: s3://… or https://…), or none (--mirror=)", m.URL, platform)}
}

// Inputs lists everything that decides what the image is. The concrete DAG is in it by the hashes of its roots, which
// cover all that they depend on, compilers too: so the Spack that found it is not.
func (c Container) inputs(lock *buildcache.Lockfile, runtimeKey string) []image.Input {
	inputs := append(slices.Clone(c.Inputs),
		image.Input{Kind: "template", Digest: version},
		image.Input{Kind: "platform", Digest: c.Platform},
		image.Input{Kind: "target", Digest: c.Target},
		image.Input{Kind: "base", Name: Runtime, Digest: runtimeKey},
	)
	for _, root := range lock.Roots {
		spec := lock.Specs[root.Hash]
		inputs = append(inputs, image.Input{Kind: "root", Name: spec.Name, Digest: spec.Version + "/" + string(root.Hash)})
	}
	return inputs
}

// Describe returns the record that an image made from this container would have, but for its digest.
func (c Container) Describe(runtimeKey string) (image.Record, error) {
	lock, err := c.lockfile()
	if err != nil {
		return image.Record{}, err
	}
	first, err := c.first(lock)
	if err != nil {
		return image.Record{}, err
	}
	inputs := c.inputs(lock, runtimeKey)
	return image.Record{
		Name: c.Name, Version: lock.Specs[lock.Roots[first].Hash].Version, Platform: c.Platform, Engine: "podman",
		BuildKey: image.BuildKey(inputs), Inputs: inputs, Lock: hexSum(c.Lock),
	}, nil
}

func (c Container) lockfile() (*buildcache.Lockfile, error) {
	lock, err := buildcache.ParseLockfile(c.Lock)
	if err == nil && len(lock.Roots) == 0 {
		err = errors.New("the lockfile has no roots")
	}
	return lock, err
}

func (c Container) first(lock *buildcache.Lockfile) (int, error) {
	var roots []string
	for _, root := range lock.Roots {
		roots = append(roots, root.Spec)
	}
	return c.FirstRoot(roots)
}

// labels describes the image to whoever inspects it later.
func (c Container) labels(record image.Record, runtime BuiltBase, created time.Time) (map[string]string, error) {
	lock, err := c.lockfile()
	if err != nil {
		return nil, err
	}
	var roots []buildcache.Hash
	for _, root := range lock.Roots {
		roots = append(roots, root.Hash)
	}
	var specs []string
	for _, spec := range lock.Closure(roots, buildcache.Runtime) {
		if !spec.External {
			specs = append(specs, spec.String())
		}
	}
	slices.Sort(specs)
	labels := map[string]string{
		"org.opencontainers.image.title":       c.Name,
		"org.opencontainers.image.version":     record.Version,
		"org.opencontainers.image.created":     created.UTC().Format(time.RFC3339),
		"org.opencontainers.image.revision":    c.Revision,
		"org.opencontainers.image.source":      c.Origin,
		"org.opencontainers.image.base.name":   Runtime,
		"org.opencontainers.image.base.digest": runtime.Digest,
		image.LabelBuildKey:                    record.BuildKey,
		labelInputs:                            inputsLabel(record.Inputs),
		image.LabelLock:                        record.Lock,
		image.LabelSpecs:                       strings.Join(specs, " "),
		labelSpack:                             cmp.Or(lock.Spack.Commit, lock.Spack.Version),
	}
	for name, value := range c.Labels {
		labels[name] = value
	}
	for name, value := range labels {
		if value == "" {
			delete(labels, name)
		}
	}
	return labels, nil
}

const labelSpack = "org.openbraininstitute.spacktainers.spack"

// tag is the name of the image in podman's storage.
func (c Container) tag() string {
	return "localhost/spacktainers/" + c.Name + "-" + strings.ReplaceAll(c.Platform, "/", "-") + ":latest"
}

// writeContext fills a folder with what podman builds from.
func (c Container) writeContext(dir string, dockerfile []byte) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string][]byte{"Dockerfile": dockerfile, "spack.yaml": c.Spack, "spack.lock": c.Lock} {
		if text == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	for i, f := range c.Files {
		if err := copyTree(f.Source, filepath.Join(dir, copied(i))); err != nil {
			return fmt.Errorf("copy %s: %w", f.Source, err)
		}
	}
	return nil
}

// buildCmd builds a context. What it takes besides comes from Secrets and Mirror.
func (c Container) buildCmd(p Podman, context, step string, secrets, labels []string) (command.Cmd, error) {
	args := []string{
		"build", "--format=docker", "--network=host", "--platform=" + c.Platform,
		"--skip-unused-stages=false",
		"--build-arg=STEP=" + step,
	}
	if p.Chroot {
		args = append(args, "--isolation=chroot")
	}
	if c.Anew {
		args = append(args, "--no-cache")
	}
	if !c.Strip {
		args = append(args, "--build-arg=STRIP=false")
	}
	mirror, err := c.Mirror.args()
	if err != nil {
		return command.Cmd{}, err
	}
	args = slices.Concat(args, mirror, secrets, labels, []string{"--tag=" + c.tag(), context})
	return p.command(args...), nil
}

func labelArgs(labels map[string]string) []string {
	var args []string
	for name, value := range labels {
		args = append(args, "--label="+name+"="+value)
	}
	slices.Sort(args)
	return args
}
