package targets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/openbraininstitute/spacktainers/internal/command"
	"github.com/openbraininstitute/spacktainers/internal/podman"
	"github.com/openbraininstitute/spacktainers/internal/publish"
	"github.com/openbraininstitute/spacktainers/internal/release"
)

// tool is the name of the image with the program, beside those of the base images.
const tool = "tool"

// toolSuite is the Debian that the image is made of. It has no apptainer: SIFs are written by our own
// engine, for which tar2sqfs is there.
const toolSuite = "bookworm"

// toolPackages are the programs that targets call, as internal/doctor has them, and what Debian only
// recommends beside podman: a network, and what it needs without root or on top of another overlay.
var toolPackages = []string{
	"podman", "runc", "crun", "netavark", "iptables", "slirp4netns", "uidmap", "fuse-overlayfs", "catatonit",
	"skopeo", "mmdebstrap", "squashfs-tools-ng", "git", "openssh-client",
}

// toolFiles leaves out what nobody reads in a job, a fifth of all; licences stay.
var toolFiles = []string{
	"path-exclude=/usr/share/man/*", "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*",
	"path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright",
	"path-exclude=/etc/cni/*", // podman takes netavark where nothing speaks of another network
}

// toolImage says how the image is made. Its system is the archive's of today, so that the same commit
// gives the same bytes for as long as the archive has the same packages.
func (a *app) toolImage(ctx context.Context, platforms []string) (*release.Image, error) {
	at, err := a.sourceDate(ctx)
	if err != nil {
		return nil, err
	}
	for _, platform := range platforms {
		if platform != native {
			if err := a.emulation(ctx, platform); err != nil {
				return nil, err
			}
		}
	}
	run := command.Exec(os.Stderr)
	return &release.Image{
		Time: at,
		Root: func(ctx context.Context, platform, path string) error {
			a.Log.Info("making the image's system from Debian's archive", "suite", toolSuite, "platform", platform)
			return podman.System{Suite: toolSuite, Platform: platform, Packages: toolPackages, Dpkg: toolFiles, Time: at}.Write(ctx, run, path)
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":    programName,
			"org.opencontainers.image.source":   "https://" + modulePath,
			"org.opencontainers.image.revision": checkout(ctx).Commit,
		},
		Volumes: []string{"/var/lib/containers"}, // podman's storage cannot be an overlay on another one
		Files: map[string]string{
			"/etc/gitconfig": "# The checkout of a job often is another user's. Nobody else is in this container.\n[safe]\n\tdirectory = *\n",
		},
	}, nil
}

// sourceDate is the time that images are made at: SOURCE_DATE_EPOCH, or else the commit's.
func (a *app) sourceDate(ctx context.Context) (time.Time, error) {
	text := a.env.SourceDate
	if text == "" {
		text = askGit(ctx, "log", "-1", "--format=%ct")
	}
	if text == "" {
		return time.Time{}, errors.New("there is no commit whose time the image could have: set SOURCE_DATE_EPOCH to seconds since 1970")
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, wrongCall("SOURCE_DATE_EPOCH is %q: want seconds since 1970", text)
	}
	return time.Unix(seconds, 0), nil
}

// toolImages are the images that release has made, for all platforms for which there is one.
func toolImages(dir string, platforms []string) (all []publish.Base, err error) {
	for _, platform := range slices.Sorted(slices.Values(platforms)) {
		img, key, err := release.OpenImage(filepath.Join(dir, release.ImageFile(programName, platform)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, publish.Base{Platform: platform, Key: key, Image: func() (v1.Image, error) { return img, nil }})
	}
	if len(all) == 0 {
		return nil, wrongCall("there is no image of the program in %s: mage release --image makes it, in a checkout of %s", dir, modulePath)
	}
	return all, nil
}
