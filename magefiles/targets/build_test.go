package targets

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openbraininstitute/spacktainers/internal/testing/tooltest"
)

// cloneSpack clones real Spack, and its packages, from where two variables say: clonespack SPACK
// PACKAGES.
func cloneSpack(ts *testscript.TestScript, neg bool, args []string) {
	for i, variable := range []string{spackVariable, packagesVariable} {
		if os.Getenv(variable) == "" {
			continue
		}
		dir := ts.MkAbs(args[i])
		ts.Check(ts.Exec("git", "-c", "safe.directory=*", "clone", "--quiet", "--depth=1", "file://"+os.Getenv(variable), dir))
		ts.Check(ts.Exec("git", "-C", dir, "checkout", "--quiet", "-B", "main"))
	}
}

// These name git clones, of Spack and from its version 1.0 on of its packages, for a script that
// wants the real ones.
const (
	spackVariable    = "SPACKTAINERS_SPACK"
	packagesVariable = "SPACKTAINERS_SPACK_PACKAGES"
)

// makeStandin writes a git repository with what the builder takes for Spack, the test double in
// testdata/spack-standin: standin DIR.
func makeStandin(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	caches := ts.Getenv("CACHES")
	for to, from := range map[string]string{
		".":           filepath.Join(caches, "..", "spack-standin"),
		"share/cache": filepath.Join(caches, "v3-unsigned", "cache"),
		"share/locks": filepath.Join(caches, "v3-unsigned", "locks"),
	} {
		ts.Check(os.CopyFS(filepath.Join(dir, to), os.DirFS(from)))
	}
	ts.Check(ts.Exec("git", "-C", dir, "init", "--quiet", "--initial-branch=main"))
	ts.Check(ts.Exec("git", "-C", dir, "add", "--all"))
	ts.Check(ts.Exec("git", "-C", dir, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message=Stand-in"))
}

// makeDebian imports a Debian system for an architecture as localhost/NAME: mkdebian NAME ARCH
// PACKAGE... Its packages are unpacked and not set up, which takes no emulation and a fraction of
// the time; what a shell and python need of the rest is done here.
func makeDebian(ts *testscript.TestScript, neg bool, args []string) {
	name, arch := args[0], args[1]
	packages := append(args[2:], "base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "libc-bin", "mawk", "sed")
	root := ts.MkAbs(name + "-root")
	ts.Check(ts.Exec("mmdebstrap", "--quiet", "--variant=extract", "--architectures="+arch, "--include="+strings.Join(packages, ","), "--format=directory", "bookworm", root))
	for _, file := range []string{"passwd", "group"} {
		text, err := os.ReadFile(filepath.Join(root, "usr/share/base-passwd", file+".master"))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(root, "etc", file), text, 0o644))
	}
	ts.Check(ts.Exec("tar", "-C", root, "-cf", root+".tar", "."))
	ts.Check(ts.Exec("podman", "import", "--quiet", "--os=linux", "--arch="+arch, root+".tar", "localhost/"+name))
	ts.Check(os.RemoveAll(root))
}

// emulates says whether this machine runs arm64 programs, also inside containers.
func emulates() (bool, error) {
	states, _ := filepath.Glob("/proc/sys/fs/binfmt_misc/*aarch64*")
	for _, state := range states {
		text, _ := os.ReadFile(state)
		if strings.HasPrefix(string(text), "enabled") && strings.Contains(string(text), "F") {
			return true, nil
		}
	}
	if tooltest.Required() {
		return false, fmt.Errorf("needs a handler of arm64 programs, which must not be missing here")
	}
	return false, nil
}

// startSSHD starts another host: an OpenSSH server in a network and a file system tree of its own,
// whose podman has a storage of its own: sshd NAME. It sets HOST to its ssh:// URL, and puts an ssh
// on PATH that knows its key and has one for it; ssh.config says how.
func startSSHD(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.MkdirAll("/run/sshd", 0o755)) // Debian's server wants it
	for _, key := range []string{"host", "user"} {
		ts.Check(ts.Exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)))
	}
	put := func(name, format string, values ...any) {
		ts.Check(os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, format, values...), 0o755))
	}
	public, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	ts.Check(err)
	ours, theirs := linkAddresses()
	put("known_hosts", "%s %s", theirs, public)
	put("storage.conf", "[storage]\ndriver = \"overlay\"\ngraphroot = \"%[1]s/storage\"\nrunroot = %[2]q\n", dir, filepath.Join(filepath.Dir(dir), ".hrun"))
	put("ssh.config", "Host *\n  IdentityFile %[1]s/user\n  IdentitiesOnly yes\n  UserKnownHostsFile %[1]s/known_hosts\n", dir)
	real, err := exec.LookPath("ssh")
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	put("bin/ssh", "#!/bin/sh\nexec %s -F %s/ssh.config \"$@\"\n", real, dir)
	env := "CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf"
	if conf := ts.Getenv("CONTAINERS_CONF"); conf != "" {
		env += " CONTAINERS_CONF=" + conf
	}
	put("sshd.config", `ListenAddress %s
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/user.pub
PidFile %[2]s/pid
StrictModes no
UsePAM no
PermitRootLogin yes
SetEnv %s
`, theirs, dir, env)
	startHost(ts, ours, theirs, filepath.Join(dir, "sshd.config"))
	ts.Setenv("PATH", filepath.Join(dir, "bin")+string(os.PathListSeparator)+ts.Getenv("PATH"))
	ts.Setenv("HOST", "ssh://root@"+theirs)
}

// linkAddresses returns two addresses for the ends of a cable, from those that are set aside for
// measuring networks.
func linkAddresses() (ours, theirs string) {
	at := 4 * rand.IntN(1<<14)
	return fmt.Sprintf("198.18.%d.%d", at>>8, at&255+1), fmt.Sprintf("198.18.%d.%d", at>>8, at&255+2)
}

// startHost starts sshd where nothing of this machine's network is, at the other end of a cable.
func startHost(ts *testscript.TestScript, ours, theirs, config string) {
	const script = `ip link set lo up; echo; read -r _; ip addr add $1/30 dev eth0; ip link set eth0 up; exec /usr/sbin/sshd -D -e -f $2`
	cmd := exec.Command("unshare", "--net", "--mount", "--propagation=private", "sh", "-c", script, "sh", theirs, config)
	input, err := cmd.StdinPipe()
	ts.Check(err)
	output, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { // sessions end with their clients
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = output.Read(make([]byte, 1)) // now it is elsewhere
	ts.Check(err)
	cable := fmt.Sprintf("spackt%d", cmd.Process.Pid)
	ts.Check(ts.Exec("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(cmd.Process.Pid)))
	ts.Check(ts.Exec("ip", "addr", "add", ours+"/30", "dev", cable))
	ts.Check(ts.Exec("ip", "link", "set", cable, "up"))
	_, err = input.Write([]byte("\n"))
	ts.Check(err)
	waitFor(ts, theirs+":22")
}

func waitFor(ts *testscript.TestScript, address string) {
	for range 100 {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("nobody listens on %s", address)
}
