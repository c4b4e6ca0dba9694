//go:build unix

package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFolder keeps a second process from writing the same image. The kernel
// gives the lock back when the process ends, however it ends.
func lockFolder(home, slug string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(home, "."+slug+".busy"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s is being built by another process: wait for it", filepath.Join(home, slug))
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}
