package slurm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openbraininstitute/spacktainers/internal/quote"
)

// A Job is a batch script for Slurm that runs a container.
type Job struct {
	Container string
	Version   string
	Platform  string
	Image     string // a SIF, or a reference for sarus
	Python    string // folder of Python packages in the image; empty: none
	Program   []string
	Arguments []string // that the program always has, before those of the script
	Binds     []string // besides those of the site
	Site      Site
}

// check refuses what the script's shell would take for more than a path or a
// reference, the runtime for an option, or a reader for another line: names in
// an image are what its maker wanted.
func (j Job) check() error {
	if !shellPath.MatchString(j.Image) || strings.HasPrefix(j.Image, "-") {
		return fmt.Errorf("image %q: only a path and variables may stand there", j.Image)
	}
	for _, bind := range j.Binds {
		if !shellPath.MatchString(bind) {
			return fmt.Errorf("bind %q: only a path and variables may stand there", bind)
		}
	}
	for _, word := range append(j.command(), j.Python, j.Container, j.Version, j.Platform) {
		if strings.ContainsFunc(word, unprintable) {
			return fmt.Errorf("%q is more than one line of text: no script can name it", word)
		}
	}
	return j.Site.check("site")
}

// Script writes the batch script. Its arguments are those of the program, or
// the program with its arguments where the container does not say which.
func (j Job) Script() (string, error) {
	if err := j.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("#!/bin/bash")
	line("#SBATCH --job-name=%s", quote.Comment(j.Container))
	for _, d := range j.Site.Directives {
		line("#SBATCH %s", d)
	}
	line("#")
	about := fmt.Sprintf("%s %s for %s, on %s", j.Container, j.Version, j.Platform, j.Site.About)
	line("# %s. Written by mage sif:job.", quote.Comment(about))
	if len(j.Program) > 0 {
		line("# Usage: sbatch FILE [ARGUMENT ...]   starts %s", quote.Comment(strings.Join(j.command(), " ")))
	} else {
		line("# Usage: sbatch FILE PROGRAM [ARGUMENT ...]")
	}
	line("set -euo pipefail")
	line("")
	line("IMAGE=%s", doubleQuoted(j.Image))
	if j.Python != "" {
		line("export PYTHON_PACKAGES=%s # in the image", quote.Shell(j.Python))
	}
	if len(j.Program) == 0 {
		line(`if [ $# -eq 0 ]; then`)
		line(`	echo "which program of $IMAGE? sbatch $0 PROGRAM [ARGUMENT ...]" >&2`)
		line(`	exit 2`)
		line(`fi`)
	} else {
		line("set -- %s \"$@\"", quote.ShellWords(j.command()))
	}
	line("")
	mpi := cmp.Or(j.Site.MPI, "pmi2") // what MPICH in the containers speaks
	words := append([]string{"srun --mpi=" + quote.Line([]string{mpi})}, j.runtime()...)
	line("%s", strings.Join(append(words, `"$IMAGE" "$@"`), " \\\n\t"))
	return b.String(), nil
}

// command is the program with the arguments that it always has.
func (j Job) command() []string { return slices.Concat(j.Program, j.Arguments) }

func (j Job) runtime() []string {
	var words []string
	binds := slices.Concat(j.Site.Binds, j.Binds)
	if j.Site.Runtime == "sarus" {
		words = append(words, "sarus run --mpi", `--workdir="$PWD"`)
		for _, bind := range binds {
			words = append(words, "--mount="+doubleQuoted("type=bind,source="+bind+",destination="+bind))
		}
	} else {
		words = append(words, j.Site.Runtime+" run", `--pwd "$PWD"`)
		for _, bind := range binds {
			words = append(words, "--bind "+doubleQuoted(bind))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.Site.Env)) {
		words = append(words, "--env="+quote.Shell(name+"="+j.Site.Env[name]))
	}
	return words
}

// doubleQuoted lets the shell put in variables and nothing else: what stands
// here is what shellPath allows.
func doubleQuoted(text string) string { return `"` + text + `"` }
