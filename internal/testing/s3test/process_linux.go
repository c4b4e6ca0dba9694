package s3test

import (
	"os/exec"
	"runtime"
	"syscall"
)

// run starts a server that ends with this process, however that ends. The
// kernel ties the child to the thread that started it, so that thread waits.
func run(cmd *exec.Cmd) (started, ended <-chan error) {
	start, end := make(chan error, 1), make(chan error, 1)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		start <- err
		if err == nil {
			end <- cmd.Wait()
		}
	}()
	return start, end
}

func setAttribute(file, name string, value []byte) error {
	return syscall.Setxattr(file, name, value, 0)
}
