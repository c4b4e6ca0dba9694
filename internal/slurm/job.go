package slurm

import (
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
	Site      Site
}

// Check refuses an image that the script's shell would take for more than a
// path or a reference.
func (j Job) Check() error {
	if !shellPath.MatchString(j.Image) {
		return fmt.Errorf("image %q: only a path and variables may stand there", j.Image)
	}
	return nil
}

// Script writes the batch script. Its arguments are those of the program, or
// the program with its arguments where the container does not say which.
func (j Job) Script() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("#!/bin/bash")
	line("#SBATCH --job-name=%s", j.Container)
	for _, d := range j.Site.Directives {
		line("#SBATCH %s", d)
	}
	line("#")
	line("# %s %s for %s, on %s. Written by mage sif:job.", j.Container, j.Version, j.Platform, j.Site.About)
	if len(j.Program) > 0 {
		line("# Usage: sbatch FILE [ARGUMENT ...]   starts %s", strings.Join(j.Program, " "))
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
		line("set -- %s \"$@\"", quote.ShellWords(j.Program))
	}
	line("")
	mpi := j.Site.MPI
	if mpi == "" {
		mpi = "pmi2" // what MPICH in the containers speaks
	}
	words := append([]string{"srun --mpi=" + mpi}, j.runtime()...)
	line("%s", strings.Join(append(words, `"$IMAGE" "$@"`), " \\\n\t"))
	return b.String()
}

func (j Job) runtime() []string {
	var words []string
	if j.Site.Runtime == "sarus" {
		words = append(words, "sarus run --mpi", `--workdir="$PWD"`)
		for _, bind := range j.Site.Binds {
			words = append(words, "--mount="+doubleQuoted("type=bind,source="+bind+",destination="+bind))
		}
	} else {
		words = append(words, j.Site.Runtime+" run", `--pwd "$PWD"`)
		for _, bind := range j.Site.Binds {
			words = append(words, "--bind "+doubleQuoted(bind))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.Site.Env)) {
		words = append(words, "--env="+quote.Shell(name+"="+j.Site.Env[name]))
	}
	return words
}

// doubleQuoted lets the shell put in variables and nothing else: a Site holds
// only what shellPath allows.
func doubleQuoted(text string) string { return `"` + text + `"` }
