//go:build linux || darwin

package sif

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// explainDisk says that a disk was full where that is most likely why a program that writes there has
// failed: tar2sqfs speaks of an I/O error, and takes its file away, which gives the room back. content is
// what it could have come to write.
func explainDisk(dir string, content int64, err error) error {
	text := strings.ToLower(err.Error())
	if !strings.Contains(text, "i/o error") && !strings.Contains(text, "no space left") {
		return err
	}
	var disk unix.Statfs_t
	if statErr := unix.Statfs(dir, &disk); statErr != nil || int64(disk.Bavail)*int64(disk.Bsize) > content {
		return err
	}
	return fmt.Errorf("%s: %w: make room there (%w)", dir, syscall.ENOSPC, err)
}
