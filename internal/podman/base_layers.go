package podman

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// debootstrap begins a base image that is made here, from a Debian archive and without a registry:
// debootstrap:bookworm.
const debootstrap = "debootstrap:"

var (
	suiteName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	imageName = regexp.MustCompile(`^[A-Za-z0-9\[][A-Za-z0-9._:/@\[\]-]*$`)
)

// CheckImage refuses what can be no base image, such as an option of podman or mmdebstrap.
func CheckImage(ref string) error {
	if suite, ok := strings.CutPrefix(ref, debootstrap); ok && !suiteName.MatchString(suite) {
		return fmt.Errorf("%q is no suite of Debian: write debootstrap:bookworm", suite)
	}
	if !imageName.MatchString(ref) {
		return fmt.Errorf("%q is no image: write a reference such as docker.io/library/ubuntu:24.04, or debootstrap:bookworm", ref)
	}
	return nil
}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?([=/][A-Za-z0-9.+~:-]+)?$`)

// CheckPackage refuses what can be no Debian package, with an architecture, version or suite, such
// as an option of apt-get.
func CheckPackage(name string) error {
	if !packageName.MatchString(name) {
		return fmt.Errorf("%q is no Debian package: write git, libgomp1:amd64 or git=1:2.39.5-0", name)
	}
	return nil
}

// A Pull opens the image of a registry that a reference means for a platform.
type Pull func(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error)

// pinImage replaces a tag by the digest that the registry has for it now. What is only here is
// pinned by its ID. A bootstrapped system is named by its suite: what the archive has today is not
// known before it is made.
func pinImage(ctx context.Context, p Podman, pull Pull, ref, platform string) (string, error) {
	if err := CheckImage(ref); err != nil {
		return "", err
	}
	switch {
	case strings.HasPrefix(ref, debootstrap), strings.Contains(ref, "@sha256:"):
		return ref, nil
	case strings.HasPrefix(ref, "localhost/"):
		found, err := p.inspect(ctx, ref, "")
		if err == nil && found.ID == "" {
			err = fmt.Errorf("there is no image %s here: podman import makes one from a root file system", ref)
		}
		return string(found.ID), err
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("base image %q: %w", ref, err)
	}
	want, err := v1.ParsePlatform(platform)
	if err != nil {
		return "", err
	}
	img, err := pull(ctx, ref, *want)
	if err != nil {
		return "", fmt.Errorf("which digest has %s: %w: pin it with @sha256:…, or take base_image: debootstrap:bookworm, which needs no registry", ref, err)
	}
	digest, err := img.Digest()
	return parsed.Context().Digest(digest.String()).Name(), err
}

// below is what the Dockerfile's FROM says.
func below(from, platform string) string {
	if suite, ok := strings.CutPrefix(from, debootstrap); ok {
		return bootstrapTag(suite, platform)
	}
	return from
}

func bootstrapTag(suite, platform string) string {
	return "localhost/spacktainers/debootstrap:" + suite + "-" + strings.ReplaceAll(platform, "/", "-")
}

// bootstrap makes a minimal Debian system and imports it, unless podman has it. Its log is in the
// folder work.
func (b Base) bootstrap(ctx context.Context, p Podman, suite, work string, force bool) error {
	tag := bootstrapTag(suite, b.Platform)
	if found, err := p.inspect(ctx, tag, ""); err != nil || found.ID != "" && !force {
		return err
	}
	dir, err := os.MkdirTemp("", "spacktainers-debootstrap-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tarball := filepath.Join(dir, suite+".tar")
	log := filepath.Join(work, b.Name+"-debootstrap-"+suite+"-"+strings.ReplaceAll(b.Platform, "/", "-")+".log")
	event, why := b.bootstrapEvent(), ""
	counted := func(ctx context.Context, c command.Cmd) error {
		return logged(ctx, p.Run, c, log, func(line string) {
			event(line)
			if complaint, ok := strings.CutPrefix(line, "E: "); ok {
				why = cmp.Or(why, complaint) // what follows from it comes later
			}
		})
	}
	err = System{Suite: suite, Platform: b.Platform, Verbose: true}.Write(ctx, counted, tarball)
	if err != nil && why != "" && ctx.Err() == nil {
		return fmt.Errorf("mmdebstrap of %s: %s\nall of it: %s", suite, why, log)
	}
	if err != nil {
		return err
	}
	return p.Run(ctx, p.command("import", "--quiet", "--os=linux", "--arch="+arch(b.Platform), tarball, tag))
}

// A System is a minimal Debian system.
type System struct {
	Suite    string
	Platform string
	Packages []string  // beside the minimal ones
	Dpkg     []string  // options, such as path-exclude=/usr/share/man/*, one over the other
	Verbose  bool      // what apt and dpkg do is told
	Time     time.Time // of the newest file: the same packages give the same bytes then; zero: none
}

// Write makes the system's root file system as a tarball; another architecture's programs run
// emulated meanwhile.
func (s System) Write(ctx context.Context, run command.Runner, path string) error {
	if _, err := command.LookPath("mmdebstrap"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "spacktainers-mmdebstrap-*")
	if err != nil {
		return err
	}
	defer removeTree(ctx, dir) // mmdebstrap leaves its whole system there when it is killed
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		return err
	}
	c := s.cmd(path)
	c.Env = append(c.Env, "TMPDIR="+dir) // open to all, as /tmp: not all that it runs has our user
	return run(ctx, c)
}

// removeTree removes a folder, also when ctx is over, and nothing of what is mounted in it: what was
// killed may have left /dev and /proc there. Without root some of it may be another user's, and stays.
func removeTree(ctx context.Context, dir string) {
	_ = command.Exec(nil)(context.WithoutCancel(ctx), command.Cmd{Args: []string{"rm", "--recursive", "--force", "--one-file-system", "--", dir}})
}

func (s System) cmd(path string) command.Cmd {
	said := "--quiet"
	if s.Verbose {
		said = "--verbose"
	}
	args := []string{
		"mmdebstrap", said, "--variant=minbase", "--include=" + strings.Join(append([]string{"ca-certificates"}, s.Packages...), ","),
		`--aptopt=Acquire::Check-Valid-Until "false"`, // a site's mirror may stand still; its signatures are checked all the same
	}
	for _, option := range s.Dpkg {
		args = append(args, "--dpkgopt="+option)
	}
	args = append(args, "--architectures="+arch(s.Platform), "--", s.Suite, path)
	c := command.Cmd{Args: args, Clean: true, Apart: true} // scripts of packages run with it
	if !s.Time.IsZero() {
		c.Env = []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.Time.Unix())}
	}
	return c
}

// arch is linux/arm64's arm64, which Debian and podman call the same.
func arch(platform string) string {
	_, arch, _ := strings.Cut(platform, "/")
	return arch
}
