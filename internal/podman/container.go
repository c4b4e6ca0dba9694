package podman

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/buildcache"
	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/container"
	"github.com/openbraininstitute/spacktainers/internal/gateway"
	"github.com/openbraininstitute/spacktainers/internal/image"
)

// version is what this package makes of its inputs. It goes up whenever the same inputs give
// another image.
const version = "podman-3"

// A Container is what podman builds, and what the build may use.
type Container struct {
	container.Container
	Mirror buildcache.Location // where a user who looks into a failure finds packages
	Offer  gateway.Build       // what the build gets of the gateway; lockfile and staging are added
	Scope  string              // for whom it is built: layers are shared within it, and never with another
	Anew   bool                // without what podman remembers of earlier builds

	KeepGoing bool // a package that fails stops none that does not need it
}

// mountedMirror is where such a shell sees a mirror that is a folder of ours.
const mountedMirror = "/mnt/mirror"

// mirrorArgs give a build cache to such a shell.
func mirrorArgs(at buildcache.Location) []string {
	switch {
	case at.IsZero():
		return nil
	case !at.IsBucket():
		return []string{"--env=MIRROR=file://" + mountedMirror, "--volume=" + at.Folder + ":" + mountedMirror + ":ro"}
	}
	args := []string{"--env=MIRROR=" + at.String()}
	if at.Endpoint != "" {
		args = append(args, "--env=MIRROR_ENDPOINT="+at.Endpoint)
	}
	if !at.Anonymous {
		args = append(args, "--env=AWS_ACCESS_KEY_ID", "--env=AWS_SECRET_ACCESS_KEY")
	}
	return args
}

// Describe returns the record that an image made from this container on a runtime would have, but
// for its digest. Of the runtime the build key counts: it may still have to be built.
func (c Container) Describe(runtime container.Base) image.Record {
	return c.Record(container.Engine{Name: "podman", Template: version, Base: runtime})
}

// tag is the name of what a step makes in podman's storage: lock, packages, or install, which is
// the container itself.
func (c Container) tag(step string) string {
	if step == "install" {
		step = "latest"
	}
	return "localhost/spacktainers/" + c.Name + "-" + strings.ReplaceAll(c.Platform, "/", "-") + ":" + step
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
	for _, f := range c.Included {
		if err := copyTree(f.Source, filepath.Join(dir, includedContext, f.Target)); err != nil {
			return fmt.Errorf("copy %s: %w", f.Source, err)
		}
	}
	for i, f := range c.Files {
		if err := copyTree(f.Source, filepath.Join(dir, copied(i))); err != nil {
			return fmt.Errorf("copy %s: %w", f.Source, err)
		}
	}
	return nil
}

// includedContext is a folder whose content the builder copies beside spack.yaml, by its name.
const includedContext = "spack.included"

// buildCmd builds a context. Its bases are here by now, and no other image is any of its business.
func (c Container) buildCmd(p Podman, context, step string, session, labels []string) command.Cmd {
	args := []string{
		"build", "--format=docker", "--network=host", "--platform=" + c.Platform,
		"--pull=never", "--skip-unused-stages=false",
		"--build-arg=STEP=" + step, "--build-arg=SCOPE=" + c.Scope,
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
	if c.KeepGoing {
		args = append(args, "--build-arg=KEEP_GOING=true")
	}
	return p.command(slices.Concat(args, session, labels, []string{"--tag=" + c.tag(step), context})...)
}

func labelArgs(labels map[string]string) []string {
	var args []string
	for name, value := range labels {
		args = append(args, "--label="+name+"="+value)
	}
	slices.Sort(args)
	return args
}
