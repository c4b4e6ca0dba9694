//go:build !linux

package command

import "os/exec"

// apart does nothing where there is no /proc: the program is interrupted, and then killed.
func apart(*exec.Cmd) (after func()) { return func() {} }

func interrupted(*exec.ExitError) bool { return true }
