package parentdeath

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Hold asks the kernel to send this process SIGTERM when its parent ends.
func Hold() {
	// Without it only the hand-over of SIGTERM is lost, so an error changes nothing.
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0)
}
