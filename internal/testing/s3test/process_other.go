//go:build !linux

package s3test

import (
	"errors"
	"os/exec"
)

func run(cmd *exec.Cmd) (started, ended <-chan error) {
	start, end := make(chan error, 1), make(chan error, 1)
	err := cmd.Start()
	start <- err
	if err == nil {
		go func() { end <- cmd.Wait() }()
	}
	return start, end
}

func setAttribute(string, string, []byte) error { return errors.ErrUnsupported }
