package sif

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/image"
)

// module writes an environment module for Lmod: modules/NAME/VERSION.lua below
// the folder. It defines NAME, which runs a program of the container.
func (in Installer) module(container, name string, latest Latest) error {
	dir, err := filepath.Abs(in.Dir)
	if err != nil {
		return err
	}
	home := filepath.Join(dir, "modules", name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	sif := filepath.Join(dir, latest.File)
	variable := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(container)) + "_SIF"
	run := "apptainer exec " + quote(sif)
	lines := []string{
		"-- Written by sif:install: " + latest.Digest,
		"help(" + lua("Runs programs of the container "+container+": "+container+" PROGRAM [ARGUMENT ...]") + ")",
		"whatis(" + lua("Name: "+container) + ")",
		"whatis(" + lua("Version: "+latest.Version) + ")",
		"setenv(" + lua(variable) + ", " + lua(sif) + ")",
		"set_shell_function(" + lua(container) + ", " + lua(run+` "$@"`) + ", " + lua(run+" $*") + ")",
	}
	return image.WriteFile(filepath.Join(home, latest.Version+".lua"), []byte(strings.Join(lines, "\n")+"\n"))
}

// lua writes text as a string of Lua.
func lua(text string) string { return strconv.Quote(text) }
