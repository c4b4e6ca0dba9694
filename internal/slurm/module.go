package slurm

import (
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// A Module is an environment module, of Lmod or Environment Modules. It defines Container, which
// runs a program of the container, and CONTAINER_SIF.
type Module struct {
	Container string
	Version   string
	Digest    string // of the image
	SIF       string // absolute path
}

func (m Module) variable() string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(m.Container)) + "_SIF"
}

// run is how a shell runs programs of the container.
func (m Module) run() string { return "apptainer exec " + quote.Shell(m.SIF) }

func (m Module) help() string {
	return "Runs programs of the container " + m.Container + ": " + m.Container + " PROGRAM [ARGUMENT ...]"
}

// Lua returns the module's text for Lmod.
func (m Module) Lua() string {
	return strings.Join([]string{
		"-- Written by sif:install: " + quote.Comment(m.Digest),
		"help(" + quote.Lua(m.help()) + ")",
		"whatis(" + quote.Lua("Name: "+m.Container) + ")",
		"whatis(" + quote.Lua("Version: "+m.Version) + ")",
		"setenv(" + quote.Lua(m.variable()) + ", " + quote.Lua(m.SIF) + ")",
		"set_shell_function(" + quote.Lua(m.Container) + ", " + quote.Lua(m.run()+` "$@"`) + ", " + quote.Lua(m.run()+" $*") + ")",
	}, "\n") + "\n"
}

// Tcl returns the module's text for Environment Modules 5.1 and later.
func (m Module) Tcl() string {
	return strings.Join([]string{
		"#%Module5.1",
		"# Written by sif:install: " + quote.Comment(m.Digest),
		"proc ModulesHelp { } { puts stderr " + quote.Tcl(m.help()) + " }",
		"module-whatis " + quote.Tcl("Name: "+m.Container),
		"module-whatis " + quote.Tcl("Version: "+m.Version),
		"setenv " + quote.Tcl(m.variable()) + " " + quote.Tcl(m.SIF),
		"set-function " + quote.Tcl(m.Container) + " " + quote.Tcl(m.run()+` "$@"`),
	}, "\n") + "\n"
}
