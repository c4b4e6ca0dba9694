//go:build unix

package sifstore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// noWait opens a FIFO, which somebody may have put in the place of a file,
// without waiting for its other end.
const noWait = syscall.O_NONBLOCK

// owner returns whose a file is, and how many names it has.
func owner(info fs.FileInfo) (uid int, names uint64) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return os.Getuid(), 1
	}
	return int(stat.Uid), uint64(stat.Nlink)
}

// lockPart keeps a second process from writing the same unfinished file. The
// kernel gives it back when the process ends, however it ends.
func lockPart(part *os.File) error {
	err := syscall.Flock(int(part.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process is fetching it: wait for it")
	}
	return nil // where there are no locks, the checksum tells
}
