//go:build unix

package sifstore

import (
	"io/fs"
	"os"
	"syscall"
)

// noWait opens a FIFO, which another user may have put in the place of a file,
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
