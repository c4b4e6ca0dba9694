package image

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFiles brings everything that was written to the folder's file system to
// the disk: one call, where a layout has a hundred files.
func syncFiles(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return unix.Syncfs(int(folder.Fd()))
}
