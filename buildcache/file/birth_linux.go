package file

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// birth returns when a file of an open folder, or that itself for "", was made;
// when its inode was changed where the file system does not say.
func birth(dir *os.File, name string) (time.Time, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var stat unix.Statx_t
	raw, err := dir.SyscallConn()
	if err != nil {
		return time.Time{}, err
	}
	if controlErr := raw.Control(func(fd uintptr) {
		err = unix.Statx(int(fd), name, flags, unix.STATX_BTIME|unix.STATX_CTIME, &stat)
	}); controlErr != nil {
		return time.Time{}, controlErr
	}
	at := stat.Btime
	if stat.Mask&unix.STATX_BTIME == 0 {
		at = stat.Ctime
	}
	return time.Unix(at.Sec, int64(at.Nsec)), err
}
