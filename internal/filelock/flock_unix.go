//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// flock is the system call; tests put in what file systems without it answer.
var flock = syscall.Flock

// File locks an open file until it is closed. It does not wait: the error is ErrHeld, or ErrNone
// where there are no locks.
func File(file *os.File) error {
	for {
		err := flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrHeld
		case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOTSUP):
			return ErrNone
		}
		return err
	}
}
