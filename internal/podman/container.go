package podman

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// version is what this package makes of its inputs. It goes up whenever the same inputs give another image.
const version = "podman-2"

// A Container is what podman builds, and from which build cache.
type Container struct {
	container.Container
	Mirror Mirror
	Anew   bool // without what podman remembers of earlier builds
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

// Describe returns the record that an image made from this container on a runtime would have, but for its digest. Of
// the runtime the build key counts: it may still have to be built.
func (c Container) Describe(runtime container.Base) image.Record {
	return c.Record(container.Engine{Name: "podman", Template: version, Base: runtime})
}

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
	for name, text := range map[string][]byte{"Dockerfile": dockerfile, "spack.yaml": c.Spack, "spack.lock": c.LockText} {
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
