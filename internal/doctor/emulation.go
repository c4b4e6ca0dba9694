package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

const (
	handlers    = "proc/sys/fs/binfmt_misc"
	handlerConf = "usr/lib/binfmt.d/qemu-aarch64.conf"
	armMachine  = "0200b700" // in an ELF header: executable, AArch64
)

// armEmulation looks for a handler that runs arm64 programs, also inside containers.
func armEmulation(_ context.Context, m Machine) (string, error) {
	if m.Arch == "arm64" {
		return "native", nil
	}
	if !m.exists(handlers + "/register") {
		return "", &lack{
			why:   "binfmt_misc is not mounted",
			mend:  []string{"mount", "-t", "binfmt_misc", "binfmt_misc", "/" + handlers},
			setup: true,
		}
	}
	name, handler := m.armHandler()
	switch {
	case name == "" && m.exists(handlerConf):
		return "", &lack{
			why:   "qemu is installed, but not registered as handler of arm64 programs",
			mend:  []string{"cp", "/" + handlerConf, "/" + handlers + "/register"},
			setup: true,
		}
	case name == "":
		return "", errors.New("no handler of arm64 programs")
	case !strings.HasPrefix(handler, "enabled"):
		return "", &lack{why: "the handler " + name + " is disabled"}
	case !strings.Contains(flags(handler), "F"):
		return "", &lack{why: "the handler " + name + " lacks the flag F: it does not work inside containers"}
	}
	return name, nil
}

// armHandler returns the name and the state of the handler of arm64 programs, whatever it is
// called.
func (m Machine) armHandler() (name, state string) {
	files, _ := filepath.Glob(m.path(handlers + "/*"))
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			continue // register can only be written
		}
		for line := range strings.Lines(string(content)) {
			magic, ok := strings.CutPrefix(line, "magic ")
			if ok && strings.HasPrefix(magic, "7f454c46") && strings.Contains(magic, armMachine) {
				return filepath.Base(f), string(content)
			}
		}
	}
	return "", ""
}

func flags(state string) string {
	for line := range strings.Lines(state) {
		if f, ok := strings.CutPrefix(line, "flags: "); ok {
			return f
		}
	}
	return ""
}
