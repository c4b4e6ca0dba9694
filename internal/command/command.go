// Package command runs other programs: podman, git, apptainer, go. It is the only package that may
// import os/exec.
//
// A command is an argv, never a line for a shell. What it writes is passed on as it comes, the end
// of its standard error is kept for the error, and a cancelled context interrupts it before
// anything kills it, so that it can clean up.
package command

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
)

// A Cmd is a program with its arguments, and where it runs.
type Cmd struct {
	Args    []string  // the program and its arguments
	Dir     string    // where it runs; empty: here
	Env     []string  // NAME=value, added to our own environment
	Clean   bool      // our own environment goes without the variables whose names say that they hold secrets
	Keep    []string  // but with those that begin so: the program's own
	Stdin   io.Reader // nil: nothing to read, so no program waits for an answer
	Stdout  io.Writer // gets the output unaltered; nil: to the log
	Stderr  io.Writer // gets what goes to standard error unaltered; nil: to the log
	Apart   bool      // in a session of its own: a terminal's Ctrl-C reaches it through us alone, and its processes end in order
	Secrets []string  // values that traces, log and errors show as ***
}

// A Runner runs a command to its end.
type Runner func(ctx context.Context, c Cmd) error

// Output runs c and returns what it wrote to standard output, without the newlines at its end.
func Output(ctx context.Context, run Runner, c Cmd) (string, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := run(ctx, c)
	return strings.TrimRight(out.String(), "\r\n"), err
}

// LookPath says where on PATH a program is. The error wraps exec.ErrNotFound.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", notFound(name, err)
	}
	return path, nil
}
