package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A fake is a machine in a temporary folder. Installing a package brings the program of the same
// name.
type fake struct {
	Machine
	mu       sync.Mutex
	programs []string
	env      []string
	users    string   // the map of a user namespace; "": there are none
	ran      []string // the commands that change something
}

const (
	debian   = "ID=debian\nVERSION_ID=\"12\"\n"
	ubuntu   = "ID=ubuntu\nID_LIKE=debian\n"
	mint     = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"
	fedora   = "ID=fedora\n"
	allCaps  = "Name:\tgo\nCapBnd:\t000001ffffffffff\n"
	someCaps = "Name:\tgo\nCapBnd:\t000001fffeffffff\n"
	limits   = "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max processes             96365                96365                processes \n" +
		"Max open files            1024                 20000                files     \n"
)

// newFake makes a Debian, as root, whose podman has nothing in its way; files replace or add to
// that. handle does what mounting and registering do to the machine.
func (f *fake) handle(what string) error {
	files := map[string]string{handlers + "/register": "", handlerConf: ":qemu-aarch64:"}
	if what == "cp" {
		files = map[string]string{handlers + "/qemu-aarch64": "enabled\nflags: POF\nmagic 7f454c460201010000000000000000000200b700\n"}
	}
	for name, text := range files {
		path := filepath.Join(f.Root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

func newFake(t *testing.T, files map[string]string, programs ...string) *fake {
	t.Helper()
	f := &fake{programs: programs}
	f.Machine = Machine{Root: t.TempDir(), Out: t.TempDir(), Arch: "amd64"}
	f.LookPath = func(name string) (string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if slices.Contains(f.programs, name) {
			return "/usr/bin/" + name, nil
		}
		return "", errors.New("not here")
	}
	f.HasEnv = func(name string) bool { return slices.Contains(f.env, name) }
	f.Run = func(_ context.Context, c command.Cmd) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if c.Args[0] == "apt-get" {
			f.ran = append(f.ran, command.Quote(c.Args))
			f.programs = append(f.programs, c.Args...)
			return nil
		}
		if c.Args[0] == "mount" || c.Args[0] == "cp" { // of the handlers' file system, and into it
			f.ran = append(f.ran, command.Quote(c.Args))
			return f.handle(c.Args[0])
		}
		if len(c.Args) > 1 && c.Args[1] == "unshare" {
			if f.users == "" {
				return errors.New("podman unshare: cannot clone: Operation not permitted")
			}
			_, err := c.Stdout.Write([]byte(f.users))
			return err
		}
		_, err := c.Stdout.Write([]byte(c.Args[0] + " version 4.3.1+ds1, built by somebody\nmore\n"))
		return err
	}
	base := map[string]string{
		"etc/os-release":                   debian,
		"proc/self/status":                 allCaps,
		"proc/self/limits":                 limits,
		"sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
	}
	for name, content := range files {
		base[name] = content
	}
	for name, content := range base {
		if content == "" {
			continue
		}
		path := filepath.Join(f.Root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fake) find(t *testing.T, what string) Finding {
	t.Helper()
	for _, finding := range Examine(t.Context(), f.Machine, Needs) {
		if finding.What == what {
			return finding
		}
	}
	t.Fatalf("no need is called %q", what)
	return Finding{}
}

var hybrid = map[string]string{
	"proc/self/status":                   someCaps,
	"sys/fs/cgroup/cgroup.controllers":   "",
	"sys/fs/cgroup/unified/cgroup.procs": "1\n",
}

func TestAFoundProgramShowsItsVersion(t *testing.T) {
	f := newFake(t, nil, "git")
	if got := f.find(t, "git"); got.Found != "4.3.1+ds1" || got.Missing != "" || got.Mend != "" {
		t.Errorf("got %+v", got)
	}
}

func TestGoAloneIsEnoughForEveryTarget(t *testing.T) {
	f := newFake(t, map[string]string{"etc/os-release": fedora, "sys/fs/cgroup/cgroup.controllers": ""})
	for _, finding := range Examine(t.Context(), f.Machine, Needs) {
		if finding.Fatal() {
			t.Errorf("%s stops %v: %s", finding.What, finding.Targets, finding.Missing)
		}
	}
}

func TestAMissingProgramIsMendedAsTheMachineDoesIt(t *testing.T) {
	cases := []struct {
		name, release string
		uid           int
		want          string
	}{
		{"Debian, root", debian, 0, "apt-get install -y --no-install-recommends skopeo"},
		{"Ubuntu, root", ubuntu, 0, "apt-get install -y --no-install-recommends skopeo"},
		{"Mint, user", mint, 1000, "sudo apt-get install -y --no-install-recommends skopeo"},
		{"Fedora", fedora, 0, "install with your package manager: skopeo"},
		{"unknown", "", 0, "install with your package manager: skopeo"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, map[string]string{"etc/os-release": c.release})
			f.UID = c.uid
			if got := f.find(t, "skopeo"); got.Mend != c.want || got.Missing != "skopeo is not on PATH" {
				t.Errorf("got %q, %q, want %q", got.Missing, got.Mend, c.want)
			}
		})
	}
}

func TestPodmanRun(t *testing.T) {
	cases := []struct {
		name     string
		files    map[string]string
		programs []string
		env      string
		found    string
		missing  string
		mend     string
	}{
		{name: "ordinary machine", programs: []string{"podman", "crun"}, found: "nothing in the way"},
		{name: "no podman", programs: []string{"runc"}, missing: "not on PATH", mend: "podman runc"},
		{name: "no runtime", programs: []string{"podman"}, missing: "neither crun nor runc", mend: "recommends runc"},
		{name: "no capability", files: map[string]string{"proc/self/status": someCaps}, programs: []string{"podman", "crun", "runc"},
			missing: "no CAP_SYS_RESOURCE: podman needs runc and lower limits here", mend: "mage setup"},
		{name: "hybrid", files: hybrid, programs: []string{"podman", "crun", "runc"}, missing: "no CAP_SYS_RESOURCE, hybrid cgroups", mend: "mage setup"},
		{name: "hybrid without runc", files: hybrid, programs: []string{"podman", "crun"}, missing: "podman needs runc", mend: "recommends runc"},
		{name: "no cgroups", files: map[string]string{"sys/fs/cgroup/cgroup.controllers": ""}, programs: []string{"podman", "crun"}, missing: "no cgroups"},
		{name: "own configuration", files: hybrid, programs: []string{"podman", "crun"}, env: "CONTAINERS_CONF", found: "as your CONTAINERS_CONF says"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, c.files, c.programs...)
			f.env = []string{c.env}
			got := f.find(t, "podman run")
			if got.Found != c.found || !strings.Contains(got.Missing, c.missing) || (c.missing == "") != (got.Missing == "") {
				t.Errorf("found %q, missing %q, want %q, %q", got.Found, got.Missing, c.found, c.missing)
			}
			if !strings.Contains(got.Mend, c.mend) || (c.mend == "") != (got.Mend == "") {
				t.Errorf("mend %q, want %q", got.Mend, c.mend)
			}
		})
	}
}

func TestPodmanRunWithoutRoot(t *testing.T) {
	for _, c := range []struct{ users, found, missing, mend string }{
		{"         0       1000          1\n         1     100000      65536\n", "nothing in the way", "", ""},
		{"         0       4321          1\n", "", "4321 has no range of users", "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 4321"},
		{"", "", "needs a user namespace, and gets none", ""},
	} {
		f := newFake(t, nil, "podman", "crun")
		f.UID, f.users = 4321, c.users
		got := f.find(t, "podman run")
		if got.Found != c.found || !strings.Contains(got.Missing, c.missing) || (c.missing == "") != (got.Missing == "") || got.Mend != c.mend {
			t.Errorf("%q: got %+v", c.users, got)
		}
	}
}

func TestArmEmulation(t *testing.T) {
	const (
		register = handlers + "/register"
		handler  = handlers + "/some-name"
		magic    = "interpreter /usr/bin/qemu-aarch64-static\nflags: POF\noffset 0\n" +
			"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	)
	cases := []struct {
		name          string
		files         map[string]string
		found         string
		missing, mend string
	}{
		{"not mounted", nil, "", "not mounted", "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"},
		{"no qemu", map[string]string{register: "x"}, "", "no handler", "qemu-user-static"},
		{"not registered", map[string]string{register: "x", handlerConf: "x"}, "", "not registered", "cp /usr/lib/binfmt.d/qemu-aarch64.conf /proc/sys/fs/binfmt_misc/register"},
		{"other machine", map[string]string{register: "x", handler: strings.Replace("enabled\n"+magic, "b700", "f300", 1)}, "", "no handler", "qemu-user-static"},
		{"disabled", map[string]string{register: "x", handler: "disabled\n" + magic}, "", "disabled", ""},
		{"not for containers", map[string]string{register: "x", handler: strings.Replace("enabled\n"+magic, "POF", "PO", 1)}, "", "lacks the flag F", ""},
		{"ready", map[string]string{register: "x", handler: "enabled\n" + magic}, "some-name", "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := newFake(t, c.files).find(t, "arm64 emulation")
			if got.Found != c.found || !strings.Contains(got.Missing, c.missing) || !strings.Contains(got.Mend, c.mend) || (c.mend == "") != (got.Mend == "") {
				t.Errorf("got %q, %q, %q", got.Found, got.Missing, got.Mend)
			}
		})
	}
	f := newFake(t, nil)
	f.UID = 1000
	if got := f.find(t, ArmEmulation); !strings.HasPrefix(got.Mend, "sudo mount ") {
		t.Errorf("to one who may not mount: got %q", got.Mend)
	}
	f.Arch = "arm64"
	if got := f.find(t, "arm64 emulation"); got.Found != "native" {
		t.Errorf("on arm64: got %q, %q", got.Found, got.Missing)
	}
}

func TestFindingsAreReadableJSON(t *testing.T) {
	text, err := json.Marshal(newFake(t, nil).find(t, "skopeo"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"what":"skopeo","targets":["containers:build"],"optional":"looks into the image layout and copies it elsewhere",` +
		`"missing":"skopeo is not on PATH","mend":"apt-get install -y --no-install-recommends skopeo","packages":["skopeo"]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestSetupInstallsAndLeavesPodmanReady(t *testing.T) {
	f := newFake(t, hybrid, "git", "crun")
	var said bytes.Buffer
	if err := Setup(t.Context(), f.Machine, Needs, &said, false); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"apt-get update",
		"apt-get install -y --no-install-recommends fuse-overlayfs gcc libc6-dev mmdebstrap netavark openssh-client podman runc skopeo slirp4netns squashfs-tools-ng uidmap",
		"mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc",
		"cp /usr/lib/binfmt.d/qemu-aarch64.conf /proc/sys/fs/binfmt_misc/register",
	}
	if got := f.ran; !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	conf := filepath.Join(f.Out, "podman", "containers.conf")
	content, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]`, `runtime = "runc"`} {
		if !strings.Contains(string(content), want) {
			t.Errorf("%s lacks %s:\n%s", conf, want, content)
		}
	}
	if got := f.find(t, "podman run"); got.Found != "with CONTAINERS_CONF="+conf {
		t.Errorf("afterwards: %+v", got)
	}
	if got, err := f.PodmanEnv(); err != nil || !slices.Equal(got, []string{"CONTAINERS_CONF=" + conf}) {
		t.Errorf("podman's environment %q, %v", got, err)
	}
	if got := f.find(t, ArmEmulation); got.Found != "qemu-aarch64" {
		t.Errorf("afterwards: %+v", got)
	}
	if !strings.Contains(said.String(), "apptainer: ") {
		t.Errorf("does not say what is still missing:\n%s", &said)
	}
}

func TestSetupTwiceDoesNothingMore(t *testing.T) {
	f := newFake(t, hybrid)
	for range 2 {
		if err := Setup(t.Context(), f.Machine, Needs[:5], &bytes.Buffer{}, false); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.ran) != 2 {
		t.Errorf("ran %q", f.ran)
	}
}

func TestSetupLeavesAnOrdinaryMachineAlone(t *testing.T) {
	f := newFake(t, nil, "git", "gcc", "podman", "crun", "skopeo")
	if err := Setup(t.Context(), f.Machine, Needs[:6], &bytes.Buffer{}, false); err != nil {
		t.Fatal(err)
	}
	env, err := f.PodmanEnv()
	if left, _ := os.ReadDir(f.Out); err != nil || len(left) > 0 || len(f.ran) > 0 || env != nil {
		t.Errorf("wrote %v, ran %q, podman's environment %q, %v", left, f.ran, env, err)
	}
}

func TestDryRunOnlyTells(t *testing.T) {
	f := newFake(t, hybrid, "git", "crun")
	var said bytes.Buffer
	if err := Setup(t.Context(), f.Machine, Needs, &said, true); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(f.Out); len(left) > 0 || len(f.ran) > 0 {
		t.Errorf("wrote %v, ran %q", left, f.ran)
	}
	for _, want := range []string{"apt-get update\n", "podman", "containers.conf"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("does not tell of %q:\n%s", want, &said)
		}
	}
}

func TestSetupWithoutRightsPrintsTheCommandAndFailsForWhatIsRequired(t *testing.T) {
	required := []Need{{What: "podman", Targets: []string{"base"}, Probe: version("podman", "--version"), Debian: []string{"podman"}}}
	for name, release := range map[string]string{"debian": debian, "fedora": fedora} {
		f := newFake(t, map[string]string{"etc/os-release": release})
		f.UID = 1000
		var said bytes.Buffer
		err := Setup(t.Context(), f.Machine, required, &said, false)
		if err == nil || !strings.Contains(err.Error(), "still missing: podman") || len(f.ran) > 0 {
			t.Errorf("%s: got %v, ran %q", name, err, f.ran)
		}
		if !strings.Contains(said.String(), "podman\n") {
			t.Errorf("%s: said %q", name, &said)
		}
	}
}

// A command that pipes a download into a shell runs whatever the other end sends today.
func TestNoAdviceRunsADownload(t *testing.T) {
	for _, n := range Needs {
		for _, text := range []string{command.Quote(n.Mend), n.Advice} {
			if strings.Contains(text, "|") || strings.Contains(text, "curl") || strings.Contains(text, "wget") {
				t.Errorf("%s: %q", n.What, text)
			}
		}
	}
}

func TestDoctorSaysWhereBuildsAreNotIsolated(t *testing.T) {
	f := newFake(t, map[string]string{"proc/self/ns/net": "x"})
	f.UID = 0
	if got := f.find(t, "isolated builds"); got.Missing != "" {
		t.Errorf("root on Linux: %+v", got)
	}
	f.UID = 1000
	if got := f.find(t, "isolated builds"); !strings.Contains(got.Missing, "not isolated") || got.Fatal() || !strings.Contains(got.Mend, "--isolated") {
		t.Errorf("another user: %+v", got)
	}
	f = newFake(t, nil)
	f.UID = 0
	if got := f.find(t, "isolated builds"); !strings.Contains(got.Missing, "not isolated") {
		t.Errorf("no namespaces: %+v", got)
	}
}
