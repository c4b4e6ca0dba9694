//go:build !linux

package command

import (
	"os/exec"
	"time"
)

// apart does nothing where there is no /proc: the program is interrupted, and then killed.
func apart(*exec.Cmd) (after func()) { return func() {} }

func interrupted(*exec.ExitError) bool { return true }

// Started does not know where there is no /proc.
func Started(...string) (at []time.Time, known bool) { return nil, false }
