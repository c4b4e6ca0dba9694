//go:build unix

package sifstore

import (
	"errors"
	"os"
	"syscall"
)

// claim keeps a second process from writing the same unfinished file. The
// kernel gives it back when the process ends, however it ends.
func claim(part *os.File) error {
	err := syscall.Flock(int(part.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process is fetching it: wait for it")
	}
	return nil // where there are no locks, the checksum tells
}
