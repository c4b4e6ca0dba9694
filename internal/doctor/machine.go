package doctor

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/command"
)

// A Machine is where the targets are to run.
type Machine struct {
	Root     string // of the file system: "/", or a folder that imitates one
	Out      string // the project's out folder
	Arch     string // as GOARCH spells it
	UID      int
	Run      command.Runner
	LookPath func(name string) (string, error)
	HasEnv   func(name string) bool // is the variable set, and not empty? its value is never read
}

// Here returns the machine that this process runs on.
func Here(out string, run command.Runner, hasEnv func(string) bool) Machine {
	return Machine{
		Root: "/", Out: out, Arch: runtime.GOARCH, UID: os.Getuid(),
		Run: run, LookPath: command.LookPath, HasEnv: hasEnv,
	}
}

func (m Machine) path(name string) string { return filepath.Join(m.Root, filepath.FromSlash(name)) }

func (m Machine) exists(name string) bool {
	_, err := os.Stat(m.path(name))
	return err == nil
}

func (m Machine) has(program string) bool {
	_, err := m.LookPath(program)
	return err == nil
}

// debian reports whether apt-get and Debian's package names are at home here.
func (m Machine) debian() bool {
	release := m.fields("etc/os-release", "=")
	ids := append(strings.Fields(release["ID_LIKE"]), release["ID"])
	return slices.Contains(ids, "debian") || slices.Contains(ids, "ubuntu")
}

// fields reads a file of lines "key SEPARATOR value"; one that is not there has none.
func (m Machine) fields(name, separator string) map[string]string {
	content, _ := os.ReadFile(m.path(name))
	values := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), separator); ok {
			values[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return values
}
