package doctor

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// SetupTarget is the target that calls Setup.
const SetupTarget = "setup"

// podmanRun looks whether podman can start a container here. Starting one would need an image, so
// it looks for what is known to get in the way on CI machines: podman then needs runc and limits of
// its own.
func podmanRun(ctx context.Context, m Machine) (string, error) {
	obstacles := m.obstacles()
	switch {
	case !m.has("podman"):
		return "", fmt.Errorf("podman is not on PATH")
	case m.HasEnv("CONTAINERS_CONF"):
		return "as your CONTAINERS_CONF says", nil
	case !m.has("crun") && !m.has("runc"):
		return "", &lack{why: "neither crun nor runc is on PATH", packages: []string{"runc"}}
	case m.noCgroups():
		return "", &lack{why: "no cgroups in /sys/fs/cgroup: containers can be built with --isolation=chroot, but not started"}
	case m.UID != 0:
		if err := m.rootless(ctx); err != nil {
			return "", err
		}
	}
	switch {
	case len(obstacles) == 0:
		return "nothing in the way", nil
	case !m.has("runc"):
		return "", &lack{why: strings.Join(obstacles, ", ") + ": podman needs runc here", packages: []string{"runc"}}
	case !m.confUpToDate():
		return "", &lack{why: strings.Join(obstacles, ", ") + ": podman needs runc and lower limits here", mend: []string{"mage", SetupTarget}}
	}
	return "with CONTAINERS_CONF=" + m.confFile(), nil
}

// rootless looks whether this user gets what podman needs of the kernel without root: a user
// namespace, with more users in it than one.
func (m Machine) rootless(ctx context.Context) error {
	users, err := command.Output(ctx, m.Run, command.Cmd{Args: []string{"podman", "unshare", "cat", "/proc/self/uid_map"}, Clean: true})
	if err != nil {
		return &lack{why: "without root podman needs a user namespace, and gets none (in a chroot there are none, elsewhere see sysctl user.max_user_namespaces): " + lastLine(err.Error())}
	}
	if strings.Count(strings.TrimSpace(users), "\n") > 0 { // this user, and a range of others
		return nil
	}
	name := strconv.Itoa(m.UID)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return &lack{
		why:  fmt.Sprintf("%s has no range of users in /etc/subuid and /etc/subgid, without which images with files of several users cannot be unpacked (podman system migrate, once it has)", name),
		mend: []string{"sudo", "usermod", "--add-subuids", "100000-165535", "--add-subgids", "100000-165535", name},
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// obstacles lists what keeps podman's defaults from working.
func (m Machine) obstacles() []string {
	var list []string
	const sysResource = 24 // CAP_SYS_RESOURCE: without it no process may raise a limit, as podman does by default
	bounds, err := strconv.ParseUint(m.fields("proc/self/status", ":")["CapBnd"], 16, 64)
	if err == nil && bounds&(1<<sysResource) == 0 {
		list = append(list, "no CAP_SYS_RESOURCE")
	}
	if m.exists("sys/fs/cgroup/unified") && !m.exists("sys/fs/cgroup/cgroup.controllers") {
		list = append(list, "hybrid cgroups") // crun refuses them
	}
	return list
}

// noCgroups reports whether this is a Linux (elsewhere podman brings one) that shows no cgroups.
func (m Machine) noCgroups() bool {
	entries, _ := os.ReadDir(m.path("sys/fs/cgroup"))
	return len(entries) == 0 && m.exists("proc/self/status")
}

// PodmanEnv returns what podman's children need in their environment on this machine: nothing, or
// CONTAINERS_CONF with a file of ours, which it writes where it is not there yet.
func (m Machine) PodmanEnv() ([]string, error) {
	if m.HasEnv("CONTAINERS_CONF") || len(m.obstacles()) == 0 {
		return nil, nil
	}
	return []string{"CONTAINERS_CONF=" + m.confFile()}, m.writeConf(io.Discard, false)
}

// confFile is absolute, since podman may run in another folder.
func (m Machine) confFile() string {
	name := filepath.Join(m.Out, "podman", "containers.conf")
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

func (m Machine) confUpToDate() bool {
	content, err := os.ReadFile(m.confFile())
	return err == nil && string(content) == m.conf()
}

// conf is the private containers.conf: what crun refuses runc accepts, and both limits must be
// named, neither above the hard one of this process.
func (m Machine) conf() string {
	return fmt.Sprintf(`# Written by the target %q for podman on this machine: use it with CONTAINERS_CONF=%s
# It takes the place of /etc/containers/containers.conf and of your own, which stay as they are.
[containers]
default_ulimits = ["nofile=%[3]d:%[3]d", "nproc=%[4]d:%[4]d"]

[engine]
runtime = "runc"
`, SetupTarget, m.confFile(), m.hardLimit("Max open files", 1<<20), m.hardLimit("Max processes", 1<<15))
}

// hardLimit reads one of this process's hard limits, and returns at most enough.
func (m Machine) hardLimit(name string, enough uint64) uint64 {
	hard := uint64(math.MaxUint64) // "unlimited", or a system that does not say
	content, _ := os.ReadFile(m.path("proc/self/limits"))
	for line := range strings.Lines(string(content)) {
		if values, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(values); len(f) > 1 { // soft, hard, unit
				if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
					hard = n
				}
			}
		}
	}
	return min(hard, enough)
}
