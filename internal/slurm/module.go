package slurm

import (
	"strconv"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// A Module is an environment module for Lmod. It defines Container, which runs a program of the
// container.
type Module struct {
	Container string
	Version   string
	Digest    string // of the image
	SIF       string // absolute path
}

// Lua returns the module's text.
func (m Module) Lua() string {
	variable := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(m.Container)) + "_SIF"
	run := "apptainer exec " + quote.Shell(m.SIF)
	lines := []string{
		"-- Written by sif:install: " + m.Digest,
		"help(" + lua("Runs programs of the container "+m.Container+": "+m.Container+" PROGRAM [ARGUMENT ...]") + ")",
		"whatis(" + lua("Name: "+m.Container) + ")",
		"whatis(" + lua("Version: "+m.Version) + ")",
		"setenv(" + lua(variable) + ", " + lua(m.SIF) + ")",
		"set_shell_function(" + lua(m.Container) + ", " + lua(run+` "$@"`) + ", " + lua(run+" $*") + ")",
	}
	return strings.Join(lines, "\n") + "\n"
}

// lua writes text as a string of Lua.
func lua(text string) string { return strconv.Quote(text) }
