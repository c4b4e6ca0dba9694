package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// Needs that building asks for by their names.
const (
	PodmanRun    = "podman run"      // containers can be started, not only built
	ArmEmulation = "arm64 emulation" // there is a handler for arm64 programs
)

// Needs lists what the targets that exist need. A new need is a new line here.
var Needs = []Need{
	{What: "go", Targets: []string{"quickstart", "containers:build", "containers:check", "test", "doctor"}, Probe: goVersion},
	{What: "git", Targets: []string{"test", "base"}, Optional: "fetches Spack for the builder, and keeps the format check to files that it tracks", Probe: version("git", "--version"), Debian: []string{"git"}},
	{What: "gcc", Targets: []string{"test"}, Optional: "finds data races", Probe: version("gcc", "--version"), Debian: []string{"gcc", "libc6-dev"}},
	{What: "podman", Targets: []string{"quickstart", "base", "containers", "containers:build"}, Optional: "has Spack build containers, and runs them", Probe: version("podman", "--version"), Debian: rootlessPodman},
	{What: PodmanRun, Targets: []string{"quickstart", "containers:build", "containers"}, Optional: "starts containers, not only loads them", Probe: podmanRun, Debian: []string{"podman", "runc"}},
	{What: "isolated builds", Targets: []string{"containers", "containers:build", "base"}, Optional: "give builds a network of their own, in which only packages and sources are reached", Probe: isolated, Advice: "build as root on Linux; --isolated refuses to build elsewhere"},
	{What: "skopeo", Targets: []string{"containers:build"}, Optional: "looks into the image layout and copies it elsewhere", Probe: version("skopeo", "--version"), Debian: []string{"skopeo"}},
	{What: "mmdebstrap", Targets: []string{"base", "containers", "containers:build"}, Optional: "makes base images without a registry", Probe: version("mmdebstrap", "--version"), Debian: []string{"mmdebstrap"}},
	{What: "ssh", Targets: []string{"containers", "containers:build"}, Optional: "builds on other hosts", Probe: sshVersion, Debian: []string{"openssh-client"}},
	{What: ArmEmulation, Targets: []string{"containers:build"}, Optional: "runs arm64 containers on this machine", Probe: armEmulation, Debian: []string{"qemu-user-static"}},
	{What: "squashfs", Targets: []string{"sif", "sif:build", "quickstart"}, Optional: "writes SIF files without apptainer", Probe: squashfs, Debian: []string{"squashfs-tools-ng"}},
	{What: "apptainer", Targets: []string{"sif", "sif:build"}, Optional: "builds Apptainer definition files, and SIFs by the apptainer engine", Probe: version("apptainer", "--version"), Advice: "install the package of your system, or one from https://github.com/apptainer/apptainer/releases after checking its sha256sums"},
}

// rootlessPodman is podman with what Debian only recommends, but containers with a network, and
// without root, need.
var rootlessPodman = []string{"podman", "netavark", "uidmap", "slirp4netns", "fuse-overlayfs"}

func goVersion(context.Context, Machine) (string, error) {
	return strings.TrimPrefix(runtime.Version(), "go"), nil
}

// isolated looks whether builds get a network namespace of their own. Elsewhere they share that of
// this machine, and reach what it reaches, such as the metadata of a cloud.
func isolated(_ context.Context, m Machine) (string, error) {
	if m.UID != 0 || !m.exists("proc/self/ns/net") {
		return "", errors.New("not isolated: builds share the network of this machine")
	}
	return "by a network namespace", nil
}

// sshVersion asks ssh, which tells its version on standard error.
func sshVersion(ctx context.Context, m Machine) (string, error) {
	if !m.has("ssh") {
		return "", fmt.Errorf("ssh is not on PATH")
	}
	var said strings.Builder
	err := m.Run(ctx, command.Cmd{Args: []string{"ssh", "-V"}, Stderr: &said})
	return strings.TrimSpace(strings.Split(said.String(), ",")[0]), err
}

var number = regexp.MustCompile(`\d+(\.\d+)+[\w.+-]*`)

// version probes a program by asking it for its version.
func version(args ...string) Probe {
	return func(ctx context.Context, m Machine) (string, error) {
		if !m.has(args[0]) {
			return "", fmt.Errorf("%s is not on PATH", args[0])
		}
		out, err := command.Output(ctx, m.Run, command.Cmd{Args: args})
		if err != nil {
			return "", fmt.Errorf("%s is installed, but does not run: %w", args[0], err)
		}
		line, _, _ := strings.Cut(out, "\n")
		if v := number.FindString(line); v != "" {
			return v, nil
		}
		return line, nil
	}
}

// squashfs probes for one of the programs that write squashfs from a tar stream.
func squashfs(ctx context.Context, m Machine) (string, error) {
	for _, args := range [][]string{{"tar2sqfs", "--version"}, {"mksquashfs", "-version"}} {
		if found, err := version(args...)(ctx, m); err == nil {
			return args[0] + " " + found, nil
		}
	}
	return "", fmt.Errorf("neither tar2sqfs nor mksquashfs is on PATH")
}
