//go:build unix

package targets

import (
	"os"
	"syscall"
)

// sameOwner reports whether a path belongs to the owner of the folder in which we are, or to us.
func sameOwner(here, path string) bool {
	owner := func(path string) (uint32, bool) {
		info, err := os.Lstat(path)
		if err != nil {
			return 0, false
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		return stat.Uid, ok
	}
	ours, ok := owner(here)
	of, known := owner(path)
	return ok && known && (of == ours || of == uint32(os.Geteuid()))
}
